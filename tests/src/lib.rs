//! Tests that cross rooms: end to end, crashes, recall, and tidiness.
