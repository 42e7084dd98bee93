//! Conditions on what is inside of JSON columns, decided by our own decoder.
