//! Values outside an image, and pixels next to others.

/// The values of padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fill {
    /// 0.
    Zero,
    /// -∞, which no maximum selects.
    Lowest,
}

/// How a value is shifted along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// Not at all.
    Nothing,
    /// x[1:], padded with a zero at the end if x has an odd extent.
    Next,
    /// x[1:], then a zero.
    Following,
    /// A zero, then x[:-1].
    Previous,
}
