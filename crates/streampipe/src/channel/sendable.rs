/// A value to be sent: given away, or only shown.
///
/// Given away, it is closed and dropped once it is sent, and comes back in the error if it is not.
pub trait Sendable<T>: private::Sealed<T> {
    /// What comes back in an error: the value, or nothing.
    type Back;

    /// The value.
    #[doc(hidden)]
    fn value(&self) -> &T;

    /// What the sender gets back.
    #[doc(hidden)]
    fn back(self) -> Self::Back;
}

impl<T> Sendable<T> for T {
    type Back = T;

    fn value(&self) -> &T {
        self
    }

    fn back(self) -> T {
        self
    }
}

impl<T> Sendable<T> for &T {
    type Back = ();

    fn value(&self) -> &T {
        self
    }

    fn back(self) {}
}

mod private {
    pub trait Sealed<T> {}

    impl<T> Sealed<T> for T {}
    impl<T> Sealed<T> for &T {}
}
