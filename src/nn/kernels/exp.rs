//! Exponentials in arithmetic that the compiler makes wide, where libtorch would take a pass over memory for each.

use std::ops::{Div, Neg, Sub};

use super::depthwise::Number;

/// A number whose exponential is taken here.
pub trait Real: Number + Sub<Output = Self> + Div<Output = Self> + Neg<Output = Self> + PartialOrd {
    /// 1.
    const ONE: Self;
    /// 2ⁿ and exp(r) − 1, where self = n·ln 2 + r and |r| ≤ ln 2 / 2.
    fn apart<const FUSED: bool>(self) -> (Self, Self);

    /// exp(self) − 1 = 2ⁿ·(exp(r) − 1) + (2ⁿ − 1), to the last few bits also where it is small.
    #[inline(always)]
    fn expm1<const FUSED: bool>(self) -> Self {
        let (power, small) = self.apart::<FUSED>();
        fused::<Self, FUSED>(power, small, power - Self::ONE)
    }

    /// exp(self), to the last few bits.
    #[inline(always)]
    fn exp<const FUSED: bool>(self) -> Self {
        let (power, small) = self.apart::<FUSED>();
        fused::<Self, FUSED>(power, small, power)
    }

    /// For sums of many.
    fn wide(self) -> f64;
    /// From a sum of many.
    fn narrow(wide: f64) -> Self;
}

macro_rules! real {
    ($type:ident, $limit:expr, $magic:expr, $bias:expr, $mantissa:expr, $ln2:expr, $rest:expr, $terms:expr) => {
        impl Real for $type {
            const ONE: Self = 1.0;

            /// The second by its Taylor series.
            #[inline(always)]
            fn apart<const FUSED: bool>(self) -> (Self, Self) {
                const MAGIC: $type = $magic;
                let x = self.clamp(-$limit, $limit);
                // Adding so large a number rounds to a whole one, and its last bits are that number.
                let shifted = fused::<$type, FUSED>(x, std::$type::consts::LOG2_E, MAGIC);
                let n = shifted - MAGIC;
                let r = fused::<$type, FUSED>(n, -$rest, fused::<$type, FUSED>(n, -$ln2, x));
                let whole = shifted.to_bits().wrapping_sub(MAGIC.to_bits());
                let power = <$type>::from_bits(whole.wrapping_add($bias) << $mantissa);
                let mut series: $type = 0.0;
                for term in $terms {
                    series = fused::<$type, FUSED>(series, r, term);
                }
                (power, fused::<$type, FUSED>(series * r, r, r))
            }

            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn narrow(wide: f64) -> Self {
                wide as $type
            }
        }
    };
}

/// 1/k! from the last one to 1/2!.
const SHORT: [f32; 6] = [1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5];
const LONG: [f64; 12] = [
    1.0 / 6_227_020_800.0,
    1.0 / 479_001_600.0,
    1.0 / 39_916_800.0,
    1.0 / 3_628_800.0,
    1.0 / 362_880.0,
    1.0 / 40_320.0,
    1.0 / 5040.0,
    1.0 / 720.0,
    1.0 / 120.0,
    1.0 / 24.0,
    1.0 / 6.0,
    0.5,
];
// ln 2 in two parts, the first with so few bits that its product with n is exact.
real!(f32, 87.0, 12_582_912.0, 127, 23, 0.693_359_4, -2.121_944_4e-4, SHORT);
real!(f64, 708.0, 6_755_399_441_055_744.0, 1023, 52, 0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10, LONG);

/// a·b + c, rounded once where the processor can.
#[inline(always)]
pub fn fused<T: Number, const FUSED: bool>(a: T, b: T, c: T) -> T {
    if FUSED { a.fused(b, c) } else { a * b + c }
}
