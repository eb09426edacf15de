use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

/// The writing pipe of an end that is two pipes; shared by all its handles.
#[derive(Debug)]
pub(in crate::end) struct Outlet {
    /// `None` once the direction was ended. A write that is under way keeps the pipe open.
    pipe: Mutex<Option<Arc<OwnedFd>>>,
}

impl Outlet {
    pub(in crate::end) fn new(pipe: OwnedFd) -> Self {
        Self { pipe: Mutex::new(Some(Arc::new(pipe))) }
    }

    pub(in crate::end) fn pipe(&self) -> Option<Arc<OwnedFd>> {
        self.pipe.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(in crate::end) fn close(&self) {
        let closed = self.pipe.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(closed);
    }
}
