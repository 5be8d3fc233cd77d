//! Cut, one-way and deaf links: rows 3, 4, 14, 23, 24, 27 and 32.
