"""From a partner's file to records: read, check, map, redact, pseudonymise, store, and report what became of each row.

Every row ends in one of three places: the store, the list of duplicates, or the quarantine file with a reason and a
remedy. None is dropped silently, and no message carries a row's text.
"""
