//! The largest eigenvalue of an operator, and the decider that reads its history.

use pydarts::arch::{Architecture, Decision};
use pydarts::decide::{ALL, AtEpochEnd, Stop};
use pydarts::event::{EpochRecord, Metrics};
use pydarts::schedule::Schedule;

fn record(epoch: usize, curvature: Option<f64>) -> EpochRecord {
    EpochRecord {
        epoch,
        train_loss: 1.0,
        valid_loss: 1.0,
        train_accuracy: None,
        valid_accuracy: None,
        learning_rate: 0.1,
        entropy: Default::default(),
        skip_connections: None,
        seconds: 1.0,
        metrics: Metrics::new(),
        diagnostics: curvature.map(|value| ("curvature".to_string(), value)).into_iter().collect(),
    }
}

fn decider(changes: &[(&str, f64)]) -> Stop {
    let rule = ALL.iter().find(|rule| rule.spec().name == "curvature").unwrap();
    changes.iter().fold(Stop::new(*rule), |stop, (name, value)| stop.with(name, Schedule::Constant(*value)))
}

/// The decisions at the end of every epoch, with its number, until there is one; `every` epochs have a measurement.
fn first(stop: &Stop, curvatures: &[f64], every: usize) -> Option<(usize, Vec<Decision>)> {
    let mut history = Vec::new();
    for epoch in 0..curvatures.len() * every {
        let measured = epoch.is_multiple_of(every).then(|| curvatures[epoch / every]);
        history.push(record(epoch, measured));
        let at = AtEpochEnd {
            epoch,
            epochs: 50,
            arch_start_epoch: 0,
            tables: &[],
            states: &[],
            alphas: &[],
            strengths: &[],
            architecture: &Architecture::default(),
            history: &history,
            decisions: &[],
            seed: 0,
        };
        let taken = stop.rule().decide(&at, &stop.at(0, 1)).unwrap();
        if !taken.is_empty() {
            return Some((epoch, taken));
        }
    }
    None
}

fn returns_to(taken: &[Decision]) -> usize {
    match taken {
        [Decision::RollBack { epoch }, Decision::Stop { .. }] => epoch - 1,
        other => panic!("{other:?}"),
    }
}

const GROWING: [f64; 12] = [0.2, 0.25, 0.3, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.9, 1.2, 1.5];

#[test]
fn the_published_history_ends_at_epoch_22_and_returns_to_epoch_10() {
    let (epoch, taken) = first(&decider(&[]), &GROWING, 2).unwrap();
    assert_eq!((epoch, returns_to(&taken)), (22, 10));
    assert_eq!(first(&decider(&[]), &GROWING[..11], 2), None);
    // .98 / .43 = 2.279
    assert!(first(&decider(&[("ratio", 2.28)]), &GROWING, 2).is_none());
    assert!(first(&decider(&[("ratio", 2.27)]), &GROWING, 2).is_some());
}

#[test]
fn the_first_epoch_to_return_to_is_a_parameter() {
    // Without it the first local averages that can be compared are .25 and .37, at the measurements 2 and 6.
    for (start, expected) in [(0, (12, 0)), (3, (16, 4)), (8, (20, 8)), (9, (22, 10))] {
        let (epoch, taken) = first(&decider(&[("start", start as f64)]), &GROWING, 2).unwrap();
        assert_eq!((epoch, returns_to(&taken)), expected, "{start}");
    }
}

#[test]
fn lengths_count_measurements_and_not_epochs() {
    let (epoch, taken) = first(&decider(&[("start", 5.0)]), &GROWING, 1).unwrap();
    assert_eq!((epoch, returns_to(&taken)), (11, 5));
    let (epoch, taken) = first(&decider(&[("start", 0.0), ("window", 1.0), ("back", 1.0)]), &GROWING, 3).unwrap();
    // 1.2 / 0.9 is the first ratio of two neighbours above 1.3.
    assert_eq!((epoch, returns_to(&taken)), (30, 27));
}

#[test]
fn curvatures_that_fall_or_are_negative_or_missing_decide_nothing() {
    let falling: Vec<f64> = GROWING.iter().rev().copied().collect();
    assert_eq!(first(&decider(&[("start", 0.0)]), &falling, 2), None);
    let negative: Vec<f64> = GROWING.iter().map(|value| -value).collect();
    assert_eq!(first(&decider(&[("start", 0.0)]), &negative, 2), None);
    assert_eq!(first(&decider(&[("start", 0.0)]), &[f64::NAN; 12], 2), None);
    // A measurement that is missing moves the epoch to return to too far back: it decides once that is over.
    let gap = [[0.2; 7].as_slice(), &[f64::NAN], &[1.0; 8]].concat();
    let (epoch, taken) = first(&decider(&[("start", 0.0)]), &gap, 2).unwrap();
    assert_eq!((epoch, returns_to(&taken)), (28, 16));
}

#[test]
fn the_states_to_which_it_returns_are_kept() {
    let stop = decider(&[]);
    assert!(stop.rule().reads_curvature());
    // From epoch 22 back to epoch 10, and a margin.
    assert!(stop.rule().keeps(&stop.at(0, 1), Some(2)) >= 12);
    assert!(stop.rule().keeps(&stop.at(0, 1), Some(3)) >= 18);
}

#[cfg(feature = "torch")]
mod eigenvalues {
    use pydarts::random;
    use pydarts::search::largest_eigenvalue;
    use tch::{Device, Kind, Tensor};

    fn found(matrix: &Tensor, start: &Tensor) -> Option<f64> {
        largest_eigenvalue(|u| Ok(matrix.mv(u)), start).unwrap()
    }

    fn drawn(purpose: &str, n: usize) -> Tensor {
        Tensor::from_slice(&random::normal(1, purpose, 0, n))
    }

    fn identity(n: i64) -> Tensor {
        Tensor::eye(n, (Kind::Double, Device::Cpu))
    }

    /// Trap: the largest by value, not by size, and of a symmetric matrix.
    #[test]
    fn it_is_the_largest_and_not_the_largest_in_size() {
        for n in [1, 2, 5, 20] {
            let half = drawn("matrix", n * n).view([n as i64, n as i64]);
            let matrix = &half + half.tr() - identity(n as i64) * 20.0;
            let expected = matrix.linalg_eigvalsh("L").double_value(&[-1]);
            let found = found(&matrix, &drawn("start", n)).unwrap();
            assert!((found - expected).abs() < 1e-9 * expected.abs(), "{n}: {found}, expected {expected}");
        }
    }

    /// Trap: all products of a Hessian of 224 rows are not needed.
    #[test]
    fn a_separate_eigenvalue_of_a_large_matrix_needs_few_products() {
        let values: Vec<f64> = (0..300).map(|i| if i == 7 { 5.0 } else { f64::from(i) / 300.0 - 0.5 }).collect();
        let matrix = Tensor::from_slice(&values).diag(0);
        let count = std::cell::Cell::new(0);
        let times = |u: &Tensor| {
            count.set(count.get() + 1);
            Ok(matrix.mv(u))
        };
        let found = largest_eigenvalue(times, &drawn("start", 300)).unwrap().unwrap();
        assert!((found - 5.0).abs() < 1e-9 && count.get() <= 20, "{found} by {}", count.get());
    }

    #[test]
    fn repeated_eigenvalues_zero_and_values_that_are_not_finite_end_it() {
        let start = drawn("start", 6);
        assert!((found(&identity(6), &start).unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(found(&identity(6), &start.zeros_like()), None);
        assert!((found(&(identity(6) * 0.0), &start).unwrap()).abs() < 1e-12);
        assert!(found(&(identity(6) * f64::NAN), &start).unwrap().is_nan());
    }
}
