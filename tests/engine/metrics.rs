//! What a network measures besides its loss: once per evaluation, in the records, and counts that are fractions.
#![cfg(feature = "torch")]

use std::cell::RefCell;

use pydarts::config::SearchConfig;
use pydarts::data::Batch;
use pydarts::error::Result;
use pydarts::event::{Event, Metrics, Observer};
use pydarts::nn::{Loss, Mode, Network};
use pydarts::params::Table;
use pydarts::search::{self, Fingerprint, Sources, State, run};
use tch::{Device, Kind, Tensor};

use crate::capture::batches;
use crate::common::{Formula, Whole};

type Square = fn(&Tensor, &Tensor, &Batch) -> Tensor;

/// A network that gets a quarter of every example right, and notes when it is evaluated.
struct Measuring {
    inner: Formula<Square>,
    calls: RefCell<Vec<String>>,
}

impl Network for Measuring {
    fn weights(&self) -> &Table {
        self.inner.weights()
    }
    fn alphas(&self) -> &Table {
        self.inner.alphas()
    }
    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        if mode == Mode::Evaluation {
            self.calls.borrow_mut().push(format!("batch of {}", batch.examples()));
        }
        let correct = Tensor::from(0.25 * batch.examples() as f64);
        Ok(Loss { correct: Some(correct), ..self.inner.loss(w, m, batch, mode)? })
    }
    fn begin_evaluation(&self, _step: u64) -> Result<()> {
        self.calls.borrow_mut().push("begin".into());
        Ok(())
    }
    fn measured(&self) -> Result<Metrics> {
        self.calls.borrow_mut().push("measured".into());
        let n = self.calls.borrow().len() as f64;
        Ok([("worst".to_owned(), f64::NAN), ("calls".to_owned(), n)].into())
    }
    fn set_exact(&self, on: bool) -> Result<()> {
        self.inner.set_exact(on)
    }
    fn kind(&self) -> Kind {
        Kind::Double
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

#[derive(Default)]
struct Epochs(Vec<Metrics>);

impl Observer for Epochs {
    fn observe(&mut self, event: &Event) -> Result<()> {
        if let Event::Epoch { record, .. } = event {
            self.0.push(record.metrics.clone());
        }
        Ok(())
    }
}

#[test]
fn metrics_and_fractions_of_examples_are_recorded_once_per_evaluation() {
    let square: Square = |w, alpha, _| (w - alpha).square().sum(Kind::Double);
    let network = Measuring { inner: Formula::new(2, 2, square), calls: RefCell::default() };
    let config = SearchConfig::from_json(r#"{"epochs": 2}"#).unwrap();
    let whole = Whole::named(&network, "softmax");
    let (mut train, mut valid, mut evaluation) =
        (batches("train", &[4, 4]), batches("valid", &[4]), batches("evaluation", &[3, 1]));
    let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
    let zeros = || Tensor::zeros([2], (Kind::Double, Device::Cpu));
    let fingerprint = Fingerprint::default();
    let search = search::Search::new(&config, &fingerprint);
    let mut seen = Epochs::default();
    let state = State::new(zeros(), zeros()).unwrap();
    let outcome = run(whole.relaxed(), search, state, sources, &mut seen).unwrap();
    let evaluated = ["begin", "batch of 3", "batch of 1", "measured"];
    assert_eq!(*network.calls.borrow(), [evaluated, evaluated].concat());
    for (record, n) in outcome.history.iter().zip([4.0, 8.0]) {
        assert!(record.metrics.keys().eq(["worst", "calls"]));
        assert!(record.metrics["worst"].is_nan() && record.metrics["calls"] == n);
        assert_eq!((record.train_accuracy, record.valid_accuracy), (Some(0.25), Some(0.25)));
    }
    assert_eq!(seen.0.len(), 2);
    assert_eq!(seen.0[1]["calls"], 8.0);
}
