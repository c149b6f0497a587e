"""From a folder of images to every overlap in it, and the groups that follow."""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cache": ["Cache", "Entry"],
        "collection": ["RECORD", "Collection", "combine", "locked", "open_collection", "parse_record"],
        "describe": [
            "Described",
            "Tiling",
            "describe_all",
            "describe_batch",
            "index_of",
            "made_by",
            "settle",
            "unusable_names",
            "versions",
            "widths",
        ],
        "engine": [
            "PAIRS_AT_A_TIME",
            "SEARCH_THRESHOLD",
            "Clock",
            "FindResult",
            "ScoredOnce",
            "conclude",
            "find_overlaps",
            "recorded_options",
            "write_all",
        ],
        "groups": ["CUT_COLUMNS", "Placement", "Resolution", "evidence", "place", "resolve"],
        "hash_tables": [
            "N_PROBES",
            "N_TABLES",
            "batches",
            "blocks_of",
            "hashed",
            "members_of",
            "pairs_of_blocks",
        ],
        "overlaps": [
            "COLUMNS",
            "REJECTED_COLUMNS",
            "Verified",
            "complete",
            "concatenate",
            "image_index",
            "neighbours",
            "verify",
            "vote",
        ],
        "placement": ["Relations", "residual", "solve"],
        "results": ["read_results", "read_table", "write_run", "write_tables"],
        "search": [
            "EXACT_UP_TO",
            "MAX_NEIGHBOURS",
            "Candidates",
            "candidates",
            "equal_sets",
            "gather",
            "hash_rows",
            "pairs_above",
            "with_equals",
        ],
    },
)
