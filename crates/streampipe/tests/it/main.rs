//! Tests of the library from outside.

/// A process of its own for each test, and a look at what it leaves behind.
mod support;

/// The call: errors, numbers, close-on-exec.
mod call;
