//! [`Integer`]: a whole number that is exact from `i64::MIN` to `u64::MAX`.

use std::cmp::Ordering;
use std::fmt;

/// A whole number from `i64::MIN` to `u64::MAX`, exact.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Integer(i128);

impl Integer {
    /// The number as an `i64`, if it fits.
    #[must_use]
    pub fn as_i64(self) -> Option<i64> {
        i64::try_from(self.0).ok()
    }

    /// The number as a `u64`, if it fits.
    #[must_use]
    pub fn as_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    /// The number as an `i128`, which always fits.
    #[must_use]
    pub fn as_i128(self) -> i128 {
        self.0
    }

    /// The nearest float.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64
    }

    /// The order by exact value; of equals the whole number comes before the float, but after -0.0.
    pub(super) fn compare_to_float(self, float: f64) -> Ordering {
        // Powers of two, so exact as floats.
        const BELOW: f64 = -9_223_372_036_854_775_808.0;
        const ABOVE: f64 = 18_446_744_073_709_551_616.0;
        if float.is_nan() || float >= ABOVE {
            return Ordering::Less;
        }
        if float < BELOW {
            return Ordering::Greater;
        }
        let whole = float.trunc();
        let fraction = float - whole;
        self.0.cmp(&(whole as i128)).then_with(|| {
            if fraction < 0.0 || (float == 0.0 && float.is_sign_negative()) {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        })
    }
}

macro_rules! from {
    ($($type:ty),+) => {$(
        impl From<$type> for Integer {
            fn from(number: $type) -> Self {
                Self(number.into())
            }
        }
    )+};
}

from!(i8, i16, i32, i64, u8, u16, u32, u64);

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
