"""A real Chromium for tests of pages: found on the machine, driven by selenium, cut off from the network."""

import os
import shutil
import tempfile
from contextlib import contextmanager

import pytest

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

# Where CI is set the tests must run, and fail if the browser is missing.
needs_chromium = pytest.mark.skipif(
    not (BROWSER and DRIVER) and not os.environ.get("CI"),
    reason="Chromium and chromedriver are not installed (Debian: apt-get install chromium chromium-driver)",
)


@contextmanager
def chromium(width=1280, height=900, javascript=True, dark=False):
    """A browser of the given window size, with a profile of its own that is removed afterwards."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--no-first-run",
            "--hide-scrollbars",
            # No name resolves: a page that asked for anything outside would fail.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            f"--user-data-dir={profile}",
            f"--window-size={width},{height}",
        ):
            options.add_argument(argument)
        if dark:
            options.add_argument("--force-dark-mode")
        if not javascript:
            options.add_experimental_option(
                "prefs", {"profile.managed_default_content_settings.javascript": 2}
            )
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        try:
            # A window cannot be narrower than 500 px; the page's own width can.
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
            )
            yield driver
        finally:
            driver.quit()


def page_errors(driver):
    """What the page complained about: script errors, refused resources."""
    return [
        entry["message"] for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ]


def wait_for(driver, condition, seconds=15):
    """Wait until ``condition(driver)`` is true, and return what it gave."""
    from selenium.common.exceptions import StaleElementReferenceException
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(
        driver, seconds, poll_frequency=0.02, ignored_exceptions=[StaleElementReferenceException]
    ).until(condition)
