//! Geometry: exact search and graphs over rows that somebody else owns.
