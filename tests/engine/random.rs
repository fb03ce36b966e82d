//! The streams of random numbers: a function of (seed, purpose, index), fixed forever, and uniform or normal indeed.

use proptest::prelude::*;
use pydarts::random::{normal, permutation, uniform};

#[test]
fn the_numbers_of_a_seed_are_fixed_forever() {
    // Whoever changes these numbers changes every search that was ever recorded.
    assert_eq!(permutation(0, "split", 0, 10), PERMUTATION);
    assert_eq!(uniform(7, "weights", 3, 3, -1.0, 1.0), UNIFORM);
    for (drawn, fixed) in normal(7, "alphas", 0, 3).iter().zip(NORMAL) {
        // The logarithm and the cosine are the platform's, which may round the last bit another way.
        assert!((drawn - fixed).abs() < 1e-14, "{drawn} is not {fixed}");
    }
}

// Computed apart, by a second program that implements ChaCha8 from its specification.
const PERMUTATION: [usize; 10] = [4, 5, 2, 6, 8, 9, 1, 0, 3, 7];
const UNIFORM: [f64; 3] = [0.9685830579646717, -0.09642568745543789, -0.5072321586352198];
const NORMAL: [f64; 3] = [-0.02275880730284208, 1.3563719624852368, 0.755391148929107];

#[test]
fn seed_purpose_and_index_each_give_another_stream() {
    let draw = |seed, purpose, index| uniform(seed, purpose, index, 4, 0.0, 1.0);
    let first = draw(1, "crop", 1);
    assert_eq!(first, draw(1, "crop", 1));
    for other in [draw(2, "crop", 1), draw(1, "flip", 1), draw(1, "crop", 2)] {
        assert_ne!(first, other);
    }
}

#[test]
fn every_order_of_four_is_as_likely_as_another() {
    let mut counts = std::collections::HashMap::new();
    let draws = 24_000;
    for index in 0..draws {
        *counts.entry(permutation(0, "order", index, 4)).or_insert(0u32) += 1;
    }
    assert_eq!(counts.len(), 24);
    // 1000 expected each; 200 is more than six standard deviations.
    assert!(counts.values().all(|count| count.abs_diff(1000) < 200), "{counts:?}");
}

#[test]
fn normal_numbers_have_the_moments_of_the_normal_distribution() {
    let n = 200_000;
    let numbers = normal(0, "moments", 0, n);
    let moment = |power: i32| numbers.iter().map(|number| number.powi(power)).sum::<f64>() / n as f64;
    for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
        assert!((moment(power) - expected).abs() < 0.1, "moment {power} is {}", moment(power));
    }
    // Neighbours come from one pair of draws; they must not hang together.
    let product: f64 = numbers.chunks(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / (n / 2) as f64;
    assert!(product.abs() < 0.02, "correlation of a pair is {product}");
}

proptest! {
    #[test]
    fn a_permutation_holds_every_index_once(seed: u64, index: u64, n in 0usize..300) {
        let mut order = permutation(seed, "order", index, n);
        order.sort_unstable();
        prop_assert_eq!(order, (0..n).collect::<Vec<_>>());
    }

    #[test]
    fn uniform_numbers_stay_between_their_bounds(seed: u64, low in -10.0f64..10.0, width in 0.0f64..10.0) {
        let numbers = uniform(seed, "bounds", 0, 50, low, low + width);
        prop_assert_eq!(numbers.len(), 50);
        prop_assert!(numbers.iter().all(|number| (low..=low + width).contains(number)));
    }

    #[test]
    fn fewer_numbers_are_the_beginning_of_more(seed: u64, few in 0usize..20, more in 20usize..40) {
        prop_assert_eq!(&normal(seed, "x", 0, more)[..few], &normal(seed, "x", 0, few)[..]);
        prop_assert_eq!(&uniform(seed, "x", 0, more, 0.0, 1.0)[..few], &uniform(seed, "x", 0, few, 0.0, 1.0)[..]);
    }
}
