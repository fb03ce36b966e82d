//! Random numbers as a function of (seed, purpose, index), independent of earlier draws, so that a search can resume
//! at any step.
//!
//! All algorithms from the generator's bits to numbers are implemented here, so that the numbers of a seed do not
//! depend on the version of a library.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The generator for one purpose at one index.
pub fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&fnv1a64(purpose.as_bytes()).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// A uniform random permutation of 0..n (Fisher-Yates).
pub fn permutation(seed: u64, purpose: &str, index: u64, n: usize) -> Vec<usize> {
    let mut generator = stream(seed, purpose, index);
    let mut order: Vec<usize> = (0..n).collect();
    for last in (1..n).rev() {
        let chosen = below(&mut generator, last as u64 + 1) as usize;
        order.swap(last, chosen);
    }
    order
}

/// n numbers drawn uniformly from [low, high), each from 53 random bits.
pub fn uniform(seed: u64, purpose: &str, index: u64, n: usize, low: f64, high: f64) -> Vec<f64> {
    let mut generator = stream(seed, purpose, index);
    (0..n).map(|_| low + (high - low) * unit(&mut generator)).collect()
}

/// n independent decisions, each false with probability p to 32 bits.
pub fn kept(seed: u64, purpose: &str, index: u64, n: usize, p: f64) -> Vec<bool> {
    let mut generator = stream(seed, purpose, index);
    let dropped = (p * (1u64 << 32) as f64).round() as u64;
    (0..n).map(|_| u64::from(generator.next_u32()) >= dropped).collect()
}

/// n standard normal numbers (Box-Muller, both of each pair used).
pub fn normal(seed: u64, purpose: &str, index: u64, n: usize) -> Vec<f64> {
    let mut generator = stream(seed, purpose, index);
    let mut numbers = Vec::with_capacity(n + 1);
    while numbers.len() < n {
        // 1 - u is in (0, 1], where the logarithm is finite.
        let radius = (-2.0 * (1.0 - unit(&mut generator)).ln()).sqrt();
        let angle = std::f64::consts::TAU * unit(&mut generator);
        numbers.push(radius * angle.cos());
        numbers.push(radius * angle.sin());
    }
    numbers.truncate(n);
    numbers
}

/// n numbers of the standard Gumbel distribution, −ln(−ln U).
pub fn gumbel(seed: u64, purpose: &str, index: u64, n: usize) -> Vec<f64> {
    let mut generator = stream(seed, purpose, index);
    // −ln U is exponential; 1 - u is in (0, 1], and the bound keeps the outer logarithm finite where it is 1.
    let exponential = |generator: &mut ChaCha8Rng| (-(1.0 - unit(generator)).ln()).max(f64::MIN_POSITIVE);
    (0..n).map(|_| -exponential(&mut generator).ln()).collect()
}

/// The random words of 64 bits that the functions above take their numbers from, from the word `first` on.
pub fn words(seed: u64, purpose: &str, index: u64, first: usize, words: &mut [u64]) {
    let mut generator = stream(seed, purpose, index);
    // It counts words of 32 bits.
    generator.set_word_pos(2 * first as u128);
    words.iter_mut().for_each(|word| *word = generator.next_u64());
}

/// A number in [0, 1) with 53 random bits.
fn unit(generator: &mut ChaCha8Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// A whole number below `bound`, without bias: the high half of a 128-bit product, low products rejected.
fn below(generator: &mut ChaCha8Rng, bound: u64) -> u64 {
    let threshold = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(generator.next_u64()) * u128::from(bound);
        if product as u64 >= threshold {
            return (product >> 64) as u64;
        }
    }
}

/// The 64-bit FNV-1a hash.
fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
