//! Standard normal numbers on the CPU: those of `random::normal` to the last bits, drawn by several threads and with
//! arithmetic that the compiler vectorises. A pass of a network draws millions.

use std::f64::consts::{SQRT_2, TAU};
use std::sync::{Mutex, PoisonError};

use super::exp::Real;
use super::parallel::{fused, parallel_map};
use crate::error::Result;
use crate::random;

/// The number of pairs of a task: enough to be worth a thread.
const TASK: usize = 1 << 13;
/// The number of pairs whose random bits are drawn at once.
const BATCH: usize = 256;
/// The number of pairs in a vector.
const LANES: usize = 8;

/// Fills `numbers` with the normal numbers of (seed, purpose, index). Their bits do not depend on the number of threads.
pub fn fill<T: Real>(numbers: &mut [T], seed: u64, purpose: &str, index: u64) -> Result<()> {
    let tasks: Vec<Mutex<&mut [T]>> = numbers.chunks_mut(2 * TASK).map(Mutex::new).collect();
    let task = |task: usize| {
        let mut numbers = tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
        let mut words = [0; 2 * BATCH];
        for (batch, numbers) in numbers.chunks_mut(2 * BATCH).enumerate() {
            random::words(seed, purpose, index, 2 * (task * TASK + batch * BATCH), &mut words);
            pairs(&words, numbers);
        }
    };
    parallel_map(tasks.len(), |_| 1, task).map(drop)
}

/// Makes two numbers of two words by the method of Box and Muller.
fn pairs<T: Real>(words: &[u64; 2 * BATCH], numbers: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        // SAFETY: the processor has both.
        return unsafe { pairs_avx2(words, numbers) };
    }
    pairs_generic::<T, false>(words, numbers);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn pairs_avx2<T: Real>(words: &[u64; 2 * BATCH], numbers: &mut [T]) {
    pairs_generic::<T, true>(words, numbers);
}

#[inline(always)]
fn pairs_generic<T: Real, const FUSED: bool>(words: &[u64; 2 * BATCH], numbers: &mut [T]) {
    for (words, numbers) in words.chunks_exact(2 * LANES).zip(numbers.chunks_mut(2 * LANES)) {
        let (mut radii, mut turns, mut drawn) = ([0.0; LANES], [0.0; LANES], [[0.0; 2]; LANES]);
        for lane in 0..LANES {
            radii[lane] = 1.0 - unit(words[2 * lane]);
            turns[lane] = unit(words[2 * lane + 1]);
        }
        for radius in &mut radii {
            *radius = (-2.0 * logarithm::<FUSED>(*radius)).sqrt();
        }
        for lane in 0..LANES {
            drawn[lane] = turned::<FUSED>(turns[lane]).map(|part| radii[lane] * part);
        }
        numbers.iter_mut().zip(drawn.as_flattened()).for_each(|(number, drawn)| *number = T::from_f64(*drawn));
    }
}

/// 2^52: adding it to a smaller whole number puts that into the last bits.
const WHOLE: f64 = 4_503_599_627_370_496.0;

/// A whole number below 2^52 as a float, which processors before AVX-512 do not convert in vectors.
#[inline(always)]
fn float(whole: u64) -> f64 {
    f64::from_bits(whole | WHOLE.to_bits()) - WHOLE
}

/// The upper 53 bits as a number in [0, 1), exactly.
#[inline(always)]
fn unit(word: u64) -> f64 {
    const TAIL: u64 = (1 << 21) - 1;
    float(word >> 32) * (1.0 / (1u64 << 32) as f64) + float((word >> 11) & TAIL) * (1.0 / (1u64 << 53) as f64)
}

/// The polynomial with these coefficients, the highest power first.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| fused::<f64, FUSED>(sum, x, *coefficient))
}

/// ln x for x in (0, 1]: x = 2ⁿ·y with y near 1, and ln y = 2·artanh((y − 1)/(y + 1)).
#[inline(always)]
fn logarithm<const FUSED: bool>(x: f64) -> f64 {
    const FRACTION: u64 = (1 << 52) - 1;
    const LN2: f64 = 0.693_147_180_369_123_8;
    const REST: f64 = 1.908_214_929_270_587_7e-10;
    let y = f64::from_bits(x.to_bits() & FRACTION | 1.0f64.to_bits());
    let n = float(x.to_bits() >> 52) - 1023.0;
    let (y, n) = if y > SQRT_2 { (0.5 * y, n + 1.0) } else { (y, n) };
    let s = (y - 1.0) / (y + 1.0);
    let series = polynomial::<FUSED, 10>(s * s, ARTANH);
    fused::<f64, FUSED>(n, LN2, fused::<f64, FUSED>(n, REST, 2.0 * fused::<f64, FUSED>(series * s, s * s, s)))
}

/// cos and sin of 2π·turn, for a turn in [0, 1): those of the rest of a division by a quarter.
#[inline(always)]
fn turned<const FUSED: bool>(turn: f64) -> [f64; 2] {
    // Adding this rounds to a whole number.
    const MAGIC: f64 = 1.5 * WHOLE;
    let shifted = 4.0 * turn + MAGIC;
    let quarters = shifted.to_bits() & 3;
    let t = (turn - 0.25 * (shifted - MAGIC)) * TAU;
    let z = t * t;
    let sin = fused::<f64, FUSED>(polynomial::<FUSED, 8>(z, SIN) * t, z, t);
    let cos = fused::<f64, FUSED>(polynomial::<FUSED, 8>(z, COS), z, 1.0);
    let [x, y] = if quarters & 1 == 0 { [cos, sin] } else { [sin, cos] };
    let signed = |number: f64, negative: u64| f64::from_bits(number.to_bits() ^ (negative & 2) << 62);
    [signed(x, quarters + 1), signed(y, quarters)]
}

/// 1/21, 1/19, …, 1/3.
const ARTANH: [f64; 10] = [
    1.0 / 21.0,
    1.0 / 19.0,
    1.0 / 17.0,
    1.0 / 15.0,
    1.0 / 13.0,
    1.0 / 11.0,
    1.0 / 9.0,
    1.0 / 7.0,
    1.0 / 5.0,
    1.0 / 3.0,
];
/// ±1/k! for the odd k from 17 to 3.
const SIN: [f64; 8] = [
    1.0 / 355_687_428_096_000.0,
    -1.0 / 1_307_674_368_000.0,
    1.0 / 6_227_020_800.0,
    -1.0 / 39_916_800.0,
    1.0 / 362_880.0,
    -1.0 / 5040.0,
    1.0 / 120.0,
    -1.0 / 6.0,
];
/// ±1/k! for the even k from 16 to 2.
const COS: [f64; 8] = [
    1.0 / 20_922_789_888_000.0,
    -1.0 / 87_178_291_200.0,
    1.0 / 479_001_600.0,
    -1.0 / 3_628_800.0,
    1.0 / 40_320.0,
    -1.0 / 720.0,
    1.0 / 24.0,
    -0.5,
];
