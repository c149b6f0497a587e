"""How long `dupnet find` takes beside the time to decode the files, and beside other tools."""
