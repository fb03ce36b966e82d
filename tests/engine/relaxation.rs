//! Every relaxation: its derivative, its mean, its masks and its parameters. Nothing here names a relaxation but where a
//! value of one is tested.
#![cfg(feature = "torch")]

use pydarts::config::SearchConfig;
use pydarts::error::ErrorKind;
use pydarts::relaxation::ALL;
use pydarts::schedule::Schedule;
use pydarts::variant::Domain;
use serde_json::json;

const LOGITS: [f64; 8] = [0.2, -0.1, 0.5, 1.3, -0.7, 0.05, 0.4, -1.1];

fn read(relaxation: serde_json::Value) -> pydarts::error::Result<SearchConfig> {
    SearchConfig::from_json(&json!({ "relaxation": relaxation }).to_string())
}

#[test]
fn every_relaxation_is_read_from_its_name_and_from_what_it_writes() {
    for rule in ALL {
        let spec = rule.spec();
        let config = read(json!(spec.name)).unwrap();
        let written = json!(config.optimisation.relaxation);
        assert_eq!(written["name"], spec.name);
        assert_eq!(written.as_object().unwrap().len(), 1 + spec.parameters.len(), "{}", spec.name);
        assert_eq!(read(written).unwrap(), config, "{}", spec.name);
        assert!(read(json!({"name": spec.name, "misspelt": 1.0})).is_err(), "{}", spec.name);
    }
}

#[test]
fn parameters_that_float32_cannot_divide_by_are_refused() {
    let scheduled = |end: f64| json!({"name": "linear", "start": 1.0, "end": end});
    for rule in ALL {
        for parameter in
            rule.spec().parameters.iter().filter(|parameter| matches!(parameter.domain, Domain::Scheduled { .. }))
        {
            let with = |value: serde_json::Value| read(json!({"name": rule.spec().name, parameter.name: value}));
            for number in [0.0, -1.0, 5e-324, 1e-320, 1e-40, 9.9e-7, 1.1e6, 1e39, 1e308] {
                for error in [with(json!(number)).unwrap_err(), with(scheduled(number)).unwrap_err()] {
                    assert_eq!(error.kind, ErrorKind::Config, "{number}");
                    assert!(error.detail.contains(parameter.name), "{error}");
                }
            }
            for number in [1e-6, 1e6] {
                assert!(with(json!(number)).is_ok() && with(scheduled(number)).is_ok(), "{number}");
            }
        }
    }
}

#[test]
fn shares_are_shares_of_one() {
    for rule in ALL {
        let values: Vec<f64> = rule.spec().parameters.iter().map(|parameter| parameter.default).collect();
        // Whether or not a candidate was removed.
        for row in [&LOGITS[..4], &[0.2, f64::NEG_INFINITY, 0.5, 1.3]] {
            let mean = rule.mean(row, &values);
            let is_one = (mean.iter().sum::<f64>() - 1.0).abs() < 1e-12;
            assert_eq!(is_one, rule.shares(), "{}", rule.spec().name);
        }
    }
}

#[test]
fn strengths_of_masked_candidates_are_0_and_those_of_others_are_numbers() {
    use crate::common::table;
    use ndarray::Array2;
    use pydarts::relaxation::TableState;

    let mut table = table("table", 2, 4);
    let candidates = table.rows[0].candidates.clone();
    table.rows[1].candidates = candidates[..3].to_vec().into();
    let alpha = Array2::from_shape_vec((2, 4), LOGITS.to_vec()).unwrap();
    for rule in ALL {
        let config = read(json!(rule.spec().name)).unwrap();
        let mut state = TableState::new(&table);
        state.mask(0, &[1]).unwrap();
        let strengths = state.strengths(&config.optimisation.relaxation, (0, 1), alpha.view());
        assert!(strengths.iter().all(|strength| strength.is_finite()), "{}", rule.spec().name);
        assert_eq!((strengths[[0, 1]], strengths[[1, 3]]), (0.0, 0.0), "{}", rule.spec().name);
        if rule.shares() {
            assert!(strengths.rows().into_iter().all(|row| (row.sum() - 1.0).abs() < 1e-12), "{}", rule.spec().name);
        }
    }
}

#[test]
fn a_schedule_has_its_ends_exactly_and_stays_between_them() {
    let schedules: [fn(f64, f64) -> Schedule; 3] = [Schedule::Linear, Schedule::Cosine, Schedule::Exponential];
    for make in schedules {
        for (start, end) in [(10.0, 0.1), (0.1, 10.0), (0.3, 0.7), (1.0, 1.0)] {
            let schedule = make(start, end);
            assert_eq!((schedule.at(0, 250), schedule.at(249, 250)), (start, end), "{schedule:?}");
            assert_eq!((schedule.at(0, 1), schedule.at(300, 250)), (start, end), "{schedule:?}");
            let (low, high) = (start.min(end), start.max(end));
            assert!((0..250).all(|epoch| (low..=high).contains(&schedule.at(epoch, 250))), "{schedule:?}");
        }
    }
    assert!((Schedule::Linear(10.0, 0.1).at(1, 250) - 9.960241).abs() < 1e-6); // GDAS
    assert!((Schedule::Cosine(1.0, 0.0).at(1, 3) - 0.5).abs() < 1e-15);
    assert!((Schedule::Exponential(4.0, 1.0).at(1, 3) - 2.0).abs() < 1e-15);
}

mod tensors {
    use pydarts::relaxation::{ALL, Inputs, Noise, Relax};
    use tch::{Kind, Tensor};

    use super::LOGITS;

    const GUMBEL: [f64; 8] = [1.030930, -0.185627, 0.366513, 0.1, -0.9, 2.2, 0.7, -0.3];
    const SHARES: [f64; 8] = [0.5, 0.0, 0.45, 0.05, 0.3, 0.6, 0.1, 0.0];
    const ONE_HOT: [f64; 8] = [0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0];

    fn table(numbers: &[f64]) -> Tensor {
        Tensor::from_slice(numbers).view([2, 4])
    }

    /// The parameters at their defaults and at other values, and the noise, if any is drawn.
    fn inputs(rule: &dyn Relax) -> Vec<(Vec<f64>, Option<Tensor>)> {
        let defaults: Vec<f64> = rule.spec().parameters.iter().map(|parameter| parameter.default).collect();
        let noise = match rule.noise() {
            Noise::None => None,
            Noise::Gumbel => Some(table(&GUMBEL)),
            Noise::Dirichlet => Some(table(&SHARES)),
            Noise::Architecture => Some(table(&ONE_HOT)),
        };
        let halves = defaults.iter().map(|value| value * 0.5).collect();
        [defaults, halves]
            .into_iter()
            .flat_map(|values: Vec<f64>| {
                let mut cases = vec![(values.clone(), None)];
                cases.extend(noise.as_ref().map(|noise| (values, Some(noise.shallow_clone()))));
                cases
            })
            .collect()
    }

    fn weights(rule: &dyn Relax, alpha: &Tensor, case: &(Vec<f64>, Option<Tensor>)) -> Tensor {
        let values: Vec<Tensor> = case.0.iter().map(|value| Tensor::from(*value)).collect();
        rule.weights(alpha, &Inputs { values: &values, noise: case.1.as_ref() }).unwrap()
    }

    fn backward(rule: &dyn Relax, alpha: &Tensor, gradient: &Tensor, case: &(Vec<f64>, Option<Tensor>)) -> Tensor {
        let values: Vec<Tensor> = case.0.iter().map(|value| Tensor::from(*value)).collect();
        let m = weights(rule, alpha, case);
        rule.backward(alpha, &m, gradient, &Inputs { values: &values, noise: case.1.as_ref() }).unwrap()
    }

    fn largest(tensor: &Tensor) -> f64 {
        tensor.abs().max().double_value(&[])
    }

    #[test]
    fn every_derivative_equals_central_differences() {
        let gradient = table(&[0.3, -1.0, 2.0, 0.7, 1.1, -0.4, 0.0, 0.9]);
        for rule in ALL {
            for case in inputs(*rule) {
                if case.1.is_some() && (rule.samples_one() || rule.noise() == Noise::Dirichlet) {
                    continue; // straight through, and pathwise: tested below and in Python
                }
                let exact = backward(*rule, &table(&LOGITS), &gradient, &case).view([-1]);
                for index in 0..LOGITS.len() {
                    let loss = |by: f64| {
                        let mut logits = LOGITS;
                        logits[index] += by;
                        (weights(*rule, &table(&logits), &case) * &gradient).sum(Kind::Double).double_value(&[])
                    };
                    let difference = (loss(1e-5) - loss(-1e-5)) / 2e-5;
                    let error = (exact.double_value(&[index as i64]) - difference).abs();
                    assert!(error < 1e-8, "{}: {error} at {index}, {:?}", rule.spec().name, case.0);
                }
            }
        }
    }

    /// ALGORITHMS 1.2: candidates that did not run have the gradient 0.
    #[test]
    fn the_hard_gumbel_passes_the_gradient_of_the_soft_one_straight_through() {
        let named = |name: &str| *ALL.iter().find(|rule| rule.spec().name == name).unwrap();
        let (hard, soft) = (named("gdas"), named("gumbel"));
        let gradient = table(&[0.3, -1.0, 2.0, 0.7, 1.1, -0.4, 0.0, 0.9]);
        for case in inputs(hard) {
            let m = weights(hard, &table(&LOGITS), &case);
            let of_sampled = match case.1 {
                Some(_) => {
                    assert_eq!(Vec::<f64>::try_from(m.view([-1])).unwrap(), [0., 0., 0., 1., 0., 1., 0., 0.]);
                    &gradient * &m
                }
                None => gradient.shallow_clone(),
            };
            let found = backward(hard, &table(&LOGITS), &gradient, &case);
            assert!(found.equal(&backward(soft, &table(&LOGITS), &of_sampled, &case)));
        }
    }

    #[test]
    fn uniform_architectures_have_no_gradient() {
        for rule in ALL.iter().filter(|rule| !rule.learns()) {
            for case in inputs(*rule) {
                assert_eq!(largest(&backward(*rule, &table(&LOGITS), &table(&LOGITS), &case)), 0.0);
            }
        }
    }

    /// ALGORITHMS 1.4 (f), and the sampler's own case: κ far below 1, where U^(1/κ) underflows, and far above.
    #[test]
    fn dirichlet_samples_and_gradients_are_finite_at_any_logit() {
        let rule = *ALL.iter().find(|rule| rule.spec().name == "dirichlet").unwrap();
        for kind in [Kind::Double, Kind::Float] {
            for logit in [-1e4, -50.0, -7.0, -6.0, 0.0, 1e-9, 3.0, 1e4] {
                let alpha = (Tensor::zeros([64, 4], (Kind::Double, tch::Device::Cpu)) + logit).to_kind(kind);
                let drawn = {
                    use crate::common::table;
                    use pydarts::relaxation::TableState;
                    let table = table("table", 64, 4);
                    rule.noise().draw((0, "test", 0), &table, &TableState::new(&table))
                };
                let sample = rule.sample(&alpha, &Tensor::from_slice(&drawn).view([-1, 64, 4])).unwrap();
                assert_eq!(sample.kind(), kind);
                assert!(largest(&(sample.sum_dim_intlist(-1, false, None) - 1.0)) < 1e-6, "{logit}");
                let inputs = Inputs { values: &[], noise: Some(&sample) };
                let gradient = rule.backward(&alpha, &sample, &sample, &inputs).unwrap();
                assert!(largest(&gradient).is_finite(), "{logit}");
                assert_eq!(largest(&gradient) == 0.0, logit < 1e-3f64.ln(), "κ is clamped at {logit}");
            }
        }
    }

    #[test]
    fn without_noise_the_weights_are_the_mean() {
        for rule in ALL {
            for case in inputs(*rule).into_iter().filter(|case| case.1.is_none()) {
                let rows = LOGITS.chunks(4).flat_map(|row| rule.mean(row, &case.0)).collect::<Vec<_>>();
                let weights = weights(*rule, &table(&LOGITS), &case);
                assert!(largest(&(weights - table(&rows))) < 1e-15, "{}", rule.spec().name);
            }
        }
    }

    #[test]
    fn weights_are_in_the_dtype_of_the_logits() {
        for rule in ALL {
            for case in inputs(*rule) {
                let case = (case.0, case.1.map(|noise| noise.to_kind(Kind::Float)));
                let alpha = table(&LOGITS).to_kind(Kind::Float);
                assert_eq!(weights(*rule, &alpha, &case).kind(), Kind::Float, "{}", rule.spec().name);
                assert_eq!(backward(*rule, &alpha, &alpha, &case).kind(), Kind::Float, "{}", rule.spec().name);
            }
        }
    }

    /// The caller sets masked weights and gradients to 0, so only the others must be right.
    #[test]
    fn masked_logits_leave_what_the_others_would_be_alone() {
        let mut logits = LOGITS;
        (logits[1], logits[7]) = (f64::NEG_INFINITY, f64::NEG_INFINITY);
        let left = |index: &usize| ![1, 7].contains(index);
        let gradient = table(&[0.3, 0.0, 2.0, 0.7, 1.1, -0.4, 0.0, 0.0]);
        for rule in ALL {
            for case in inputs(*rule) {
                let (weights, backward) =
                    (weights(*rule, &table(&logits), &case), backward(*rule, &table(&logits), &gradient, &case));
                assert!(i64::try_from(weights.isnan().any()).unwrap() == 0, "{}", rule.spec().name);
                assert!(i64::try_from(backward.isnan().any()).unwrap() == 0, "{}", rule.spec().name);
                let weights = Vec::<f64>::try_from(weights.view([-1])).unwrap();
                assert!((0..8).filter(left).all(|index| weights[index].is_finite()), "{}", rule.spec().name);
                if rule.shares() {
                    let sums = [0..4, 4..8].map(|row| weights[row].iter().sum::<f64>());
                    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-12), "{}", rule.spec().name);
                    assert_eq!((weights[1], weights[7]), (0.0, 0.0), "{}", rule.spec().name);
                }
            }
        }
    }

    #[test]
    fn the_soft_gumbel_has_the_published_vectors() {
        let rule = ALL.iter().find(|rule| rule.spec().name == "gumbel").unwrap();
        let alpha = Tensor::from_slice(&LOGITS[..3]);
        let noise = Tensor::from_slice(&GUMBEL[..3]);
        for (temperature, expected) in [
            (1.0, [0.522448, 0.114660, 0.362893]),
            (10.0, [0.354171, 0.304333, 0.341496]),
            (0.1, [0.974523, 0.0, 0.025477]),
        ] {
            let weights = weights(*rule, &alpha, &(vec![temperature], Some(noise.shallow_clone())));
            assert!(largest(&(weights - Tensor::from_slice(&expected))) < 1e-6, "{temperature}");
        }
    }
}
