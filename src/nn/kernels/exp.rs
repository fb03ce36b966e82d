//! Exponentials that the compiler vectorises inside a kernel. Calling libtorch would take a pass over memory for each.

use std::ops::{Div, Neg, Sub};

use super::parallel::{Number, fused};

/// An element type with an exponential.
pub trait Real: Number + Sub<Output = Self> + Div<Output = Self> + Neg<Output = Self> + PartialOrd {
    /// 1.
    const ONE: Self;
    /// 2ⁿ and exp(r) − 1, where self = n·ln 2 + r and |r| ≤ ln 2 / 2.
    fn split_exp<const FUSED: bool>(self) -> (Self, Self);

    /// exp(self) − 1 = 2ⁿ·(exp(r) − 1) + (2ⁿ − 1), accurate to the last few bits near 0 too.
    #[inline(always)]
    fn expm1<const FUSED: bool>(self) -> Self {
        let (power, small) = self.split_exp::<FUSED>();
        fused::<Self, FUSED>(power, small, power - Self::ONE)
    }

    /// exp(self), accurate to the last few bits.
    #[inline(always)]
    fn exp<const FUSED: bool>(self) -> Self {
        let (power, small) = self.split_exp::<FUSED>();
        fused::<Self, FUSED>(power, small, power)
    }

    /// In double precision, for long sums.
    fn to_f64(self) -> f64;
    /// Rounded from double precision.
    fn from_f64(value: f64) -> Self;
}

macro_rules! real {
    ($type:ident, $limit:expr, $magic:expr, $bias:expr, $mantissa:expr, $ln2:expr, $rest:expr, $terms:expr) => {
        impl Real for $type {
            const ONE: Self = 1.0;

            /// exp(r) − 1 by its Taylor series.
            #[inline(always)]
            fn split_exp<const FUSED: bool>(self) -> (Self, Self) {
                const MAGIC: $type = $magic;
                let x = self.clamp(-$limit, $limit);
                // Adding a number this large rounds to an integer, which is then in the last bits of the sum.
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

            fn to_f64(self) -> f64 {
                f64::from(self)
            }

            fn from_f64(value: f64) -> Self {
                value as $type
            }
        }
    };
}

/// 1/k! in descending order of k, down to 1/2!.
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
// ln 2 as a sum of two numbers, the first with few enough bits that its product with n is exact.
real!(f32, 87.0, 12_582_912.0, 127, 23, 0.693_359_4, -2.121_944_4e-4, SHORT);
real!(f64, 708.0, 6_755_399_441_055_744.0, 1023, 52, 0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10, LONG);
