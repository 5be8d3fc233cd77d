//! Power that is lost and comes back: rows 1, 2, 7, 13, 17 and 31.
