//! Tests of the cellar.
