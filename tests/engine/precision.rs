//! The dtypes of a step: terms that are divided by ε are computed exactly, and bfloat16 stays inside the network.
#![cfg(feature = "torch")]

use std::sync::{Arc, Mutex};

use crate::common::Whole;
use crate::options;
use pydarts::config::{Method, Precision, SearchConfig};
use pydarts::data::Batch;
use pydarts::error::{ErrorKind, Result};
use pydarts::nn::{
    Dropout, LanguageModel, LanguageOptions, MatrixPrecision, Network, NetworkOptions, Numbers, Supernet,
};
use pydarts::plan::{Geometry, Language, Plan};
use pydarts::random;
use pydarts::search::{State, StepOutcome, StepSettings, step};
use tch::{Device, Kind, Tensor};

const METHODS: [Method; 3] = [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact];

/// Stores every change.
#[derive(Default)]
struct Switch(Mutex<Vec<bool>>);

impl MatrixPrecision for Switch {
    fn allow_tf32(&self, on: bool) -> Result<()> {
        let mut changes = self.0.lock().unwrap();
        if changes.last() != Some(&on) {
            changes.push(on);
        }
        Ok(())
    }

    fn restore(&self) {}
}

fn config(space: &str, method: Method) -> SearchConfig {
    let text = format!(
        r#"{{"space": "{space}", "nodes": 2, "hypergradient": {}, "weight_lr": 0.1, "weight_lr_min": 0.1}}"#,
        serde_json::json!(method)
    );
    SearchConfig::from_json(&text).unwrap()
}

/// Activations in `compute`, products in TensorFloat-32 if it is allowed.
fn options(compute: Kind, switch: Option<Arc<Switch>>) -> NetworkOptions {
    let switch = switch.map(|switch| switch as Arc<dyn MatrixPrecision>);
    let numbers = Numbers { kind: Kind::Float, compute, tf32: true, switch };
    NetworkOptions { numbers, ..options::plain(Kind::Float) }
}

fn images(config: &SearchConfig, compute: Kind, switch: Option<Arc<Switch>>) -> (Box<dyn Network>, Plan) {
    let geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    let plan = Plan::lower(&config.space, &geometry).unwrap();
    let network = Supernet::new(plan, options(compute, switch)).unwrap();
    let plan = network.plan().clone();
    (Box::new(network), plan)
}

fn words(config: &SearchConfig, compute: Kind, switch: Option<Arc<Switch>>) -> (Box<dyn Network>, Plan) {
    let plan = Plan::lower_language(&config.space, &Language { words: 11, units: 8 }).unwrap();
    let dropout = Dropout { output: 0.5, hidden: 0.2, ..Dropout::default() };
    let of_words = LanguageOptions { dropout, ..options::of_words(4, 5) };
    let network = LanguageModel::new(plan, options(compute, switch), of_words).unwrap();
    let plan = network.plan().clone();
    (Box::new(network), plan)
}

fn batches(space: &str) -> [Batch; 2] {
    ["train", "valid"].map(|purpose| match space {
        "darts" => {
            let x = Tensor::from_slice(&random::normal(5, purpose, 0, 6 * 64)).view([6, 1, 8, 8]).to_kind(Kind::Float);
            Batch::new(x, Tensor::from_slice(&[0i64, 1, 2, 0, 1, 2]))
        }
        _ => {
            let drawn = random::uniform(5, purpose, 0, 24, 0.0, 11.0);
            let tokens: Vec<i64> = drawn.into_iter().map(|number| number as i64).collect();
            let tokens = Tensor::from_slice(&tokens).view([6, 4]);
            Batch::new(tokens.narrow(0, 0, 5), tokens.narrow(0, 1, 5))
        }
    })
}

/// Two steps of a search; the outcomes, the state, and the network that moved its statistics.
fn steps(
    space: &str,
    method: Method,
    compute: Kind,
    switch: Option<Arc<Switch>>,
) -> (Vec<StepOutcome>, State, Box<dyn Network>) {
    tch::set_num_threads(1);
    let config = config(space, method);
    let (network, plan) =
        if space == "darts" { images(&config, compute, switch) } else { words(&config, compute, switch) };
    let (kind, device) = (Kind::Float, Device::Cpu);
    let mut state = State::initial(&plan, pydarts::config::ArchInit::default(), 1, kind, device).unwrap();
    let [train, valid] = batches(space);
    let settings = StepSettings::new(&config);
    let whole = Whole::of(&*network, &config);
    let one = |_| step(whole.relaxed(), &mut state, &train, Some(&valid), &settings, 0.1).unwrap();
    let outcomes = (0..2).map(one).collect();
    drop(whole);
    (outcomes, state, network)
}

#[test]
fn each_precision_has_its_dtypes_on_each_device() {
    let of = |precision, has_tf32| Numbers::new(precision, has_tf32, None).map(|numbers| numbers.precision());
    for has_tf32 in [false, true] {
        for precision in [Precision::Float64, Precision::Float32, Precision::Bfloat16] {
            assert_eq!(of(precision, has_tf32).unwrap(), precision);
        }
    }
    assert_eq!(of(Precision::Auto, false).unwrap(), Precision::Float32);
    assert_eq!(of(Precision::Auto, true).unwrap(), Precision::Tf32);
    assert_eq!(of(Precision::Tf32, true).unwrap(), Precision::Tf32);
    assert_eq!(of(Precision::Tf32, false).unwrap_err().kind, ErrorKind::Device);
}

#[test]
fn terms_that_are_divided_by_epsilon_are_not_rounded_to_tf32() {
    for space in ["darts", "darts-rnn"] {
        for method in METHODS {
            let switch = Arc::new(Switch::default());
            steps(space, method, Kind::Float, Some(Arc::clone(&switch)));
            // Two steps: the virtual step's gradient exactly, the validation loss not, the difference exactly, and the
            // weight step not; all of the exact method exactly, but for the weight step.
            let expected: &[bool] = match method {
                Method::FirstOrder | Method::SingleLevel => &[true],
                Method::Unrolled => &[false, true, false, true, false, true, false, true],
                Method::UnrolledExact => &[false, true, false, true],
                other => unreachable!("{other:?} is not tested here"),
            };
            assert_eq!(*switch.0.lock().unwrap(), expected, "{space}, {method:?}");
        }
    }
}

#[test]
fn bfloat16_stays_inside_the_network() {
    for space in ["darts", "darts-rnn"] {
        for method in METHODS {
            let (half, state, network) = steps(space, method, Kind::BFloat16, None);
            let (whole, exact, reference) = steps(space, method, Kind::Float, None);
            for tensor in [&state.w, &state.alpha, &state.momentum, &state.moments.exp_avg, &state.moments.exp_avg_sq] {
                assert_eq!(tensor.kind(), Kind::Float, "{space}, {method:?}");
            }
            assert!(!state.w.equal(&exact.w), "{space}, {method:?}: nothing was rounded");
            for (half, whole) in half.iter().zip(&whole) {
                for (half, whole) in
                    [(half.train_loss, whole.train_loss), (half.valid_loss.unwrap(), whole.valid_loss.unwrap())]
                {
                    assert!((half / whole - 1.0).abs() < 0.05, "{space}, {method:?}: losses {half} and {whole}");
                }
            }
            let named = |network: &dyn Network| network.buffers().map(|b| b.named()).unwrap().unwrap();
            for ((name, half), (_, whole)) in named(&*network).iter().zip(&named(&*reference)) {
                if name.ends_with("num_batches_tracked") {
                    assert!(half.equal(whole), "{name}");
                    continue;
                }
                assert_eq!(half.kind(), Kind::Float, "{name}");
                let off = (half - whole).norm().double_value(&[]) / whole.norm().double_value(&[]).max(0.1);
                assert!(off < 0.1, "{space}, {method:?}: {name} is off by {off}");
            }
        }
    }
}
