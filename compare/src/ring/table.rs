//! The figures of all ways, and why some have none.

use std::ops::Deref;

/// A row for each way that has figures, and a reason for each that has none.
#[derive(Clone, Debug)]
pub struct Table<R> {
    /// Those that have; a table is a slice of these.
    pub rows: Vec<R>,
    /// Those that have none.
    pub without: Vec<Without>,
}

/// A way that has no figures here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Without {
    /// Which way.
    pub name: &'static str,
    /// Why.
    pub why: String,
}

impl<R> Deref for Table<R> {
    type Target = [R];

    fn deref(&self) -> &[R] {
        &self.rows
    }
}

impl<R> Table<R> {
    /// What is said under the table: each reason once, before whom it keeps out.
    pub fn reasons(&self) -> Vec<(String, &str)> {
        let mut reasons: Vec<(String, &str)> = Vec::new();
        for Without { name, why } in &self.without {
            match reasons.iter_mut().find(|(_, reason)| reason == why) {
                Some((names, _)) => *names = format!("{names}; {name}"),
                None => reasons.push(((*name).to_owned(), why)),
            }
        }
        reasons
    }
}
