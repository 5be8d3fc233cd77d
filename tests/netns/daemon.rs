//! The daemon dies, hangs, or is told to stop, and its machine lives on: rows 5, 6, 11 and 12.
