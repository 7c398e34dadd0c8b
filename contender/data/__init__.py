"""Data: what a source holds (`source`), its rows (`rowfile`), which of them train and which judge (`split`), a first look (`inspect`).

What reading refuses, what it leaves out, and what it leaves to the quality gate:

    the whole run stops    UsageError   the source does not exist, matches nothing, is a FIFO or a device, is of an unknown format
                           DataError    no rows; a required column is missing; a name twice, or with a NUL; columns differ
                                        between files; every row of a file cut wrong (the delimiter); UTF-16 without a mark;
                                        quotes that never balance; a broken list of JSON objects; a gzip, parquet or Arrow file
                                        that is shortened or damaged; a file or folder that may not be read
    the file is left out,  SkippedFile  hidden, `_…`, .tmp, .part; empty; no format that is read; not a regular file; a link out of
    and named                           the source; parquet or Arrow without its footer; changed twice while it was read; gone
    the row is set apart   `_fault`     a csv row with the wrong number of cells; a quote that is not closed; a line of JSON lines
    for the gate                        that is no object: all its values are null, so "not null" quarantines it, and `_fault`
                                        says why
    the gate's own         as it is     nulls, blank cells, U+FFFD for bytes that could not be decoded, NUL and other control
                                        characters, cells of any length, unknown labels, duplicates

Stopping is for what would make every row suspect, or lose rows unseen; the gate is for single rows, which it counts and shows.
"""
