//! Bytes: the catalog, the journal and sealed segments of a Fromagerie database.
