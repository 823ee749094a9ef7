//! Stream-to-relation: windows.
