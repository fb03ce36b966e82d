//! Buffers of any dtype: checks, checkpoints, and products of losses that do not depend on everything.
#![cfg(feature = "torch")]

use crate::common::{Formula, batch};
use pydarts::arch::LogitTable;
use pydarts::checkpoint::{self, Contents};
use pydarts::config::SearchConfig;
use pydarts::data::Batch;
use pydarts::error::{ErrorKind, Result};
use pydarts::nn::{Buffers, Loss, Mode, NamedBuffers, Network};
use pydarts::params::Table;
use pydarts::relaxation::Restrictions;
use pydarts::search::{Carried, Fingerprint, Progress, State, Trajectory};
use tch::{Device, Kind, Tensor};

const KINDS: [Kind; 10] = [
    Kind::Float,
    Kind::Double,
    Kind::Half,
    Kind::BFloat16,
    Kind::Int64,
    Kind::Int,
    Kind::Int16,
    Kind::Int8,
    Kind::Uint8,
    Kind::Bool,
];

/// A formula with one buffer of every dtype, of which one is a scalar and one is empty.
struct Buffered<F> {
    formula: Formula<F>,
    buffers: NamedBuffers,
}

fn buffered(value: i64) -> Buffered<impl Fn(&Tensor, &Tensor, &Batch) -> Tensor> {
    let of = |kind: Kind| (format!("{kind:?}"), Tensor::full([2, 3], value, (Kind::Int64, Device::Cpu)).to_kind(kind));
    let scalar = ("scalar".to_owned(), Tensor::from(value));
    let empty = ("empty".to_owned(), Tensor::zeros([0, 4], (Kind::Float, Device::Cpu)));
    let all: Vec<_> = KINDS.into_iter().map(of).chain([scalar, empty]).collect();
    let buffers = NamedBuffers::new(&all, Device::Cpu).unwrap();
    Buffered { formula: Formula::new(2, 2, |w: &Tensor, _: &Tensor, _: &Batch| w.sum(None)), buffers }
}

impl<F: Fn(&Tensor, &Tensor, &Batch) -> Tensor> Network for Buffered<F> {
    fn weights(&self) -> &Table {
        self.formula.weights()
    }
    fn alphas(&self) -> &Table {
        self.formula.alphas()
    }
    fn buffers(&self) -> Option<&dyn Buffers> {
        Some(&self.buffers)
    }
    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        self.formula.loss(w, m, batch, mode)
    }
    fn set_exact(&self, _: bool) -> Result<()> {
        Ok(())
    }
    fn kind(&self) -> Kind {
        Kind::Double
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

#[test]
fn buffers_of_every_dtype_survive_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (written, tables) = (buffered(1), Vec::<LogitTable>::new());
    let zeros = || Tensor::zeros([2], (Kind::Double, Device::Cpu));
    let contents = Contents {
        network: &written,
        config: &SearchConfig::default(),
        fingerprint: &Fingerprint::default(),
        state: &State::new(zeros(), zeros()).unwrap(),
        carried: &Carried::default(),
        ranks: 1,
        progress: &Progress::default(),
        trajectory: &Trajectory { steps: vec![0], epochs: vec![0], points: vec![vec![0.0, 0.0]] },
        restrictions: &Restrictions::new(&tables),
        decisions: &[],
        selection: None,
    };
    let path = checkpoint::save(folder.path(), &contents).unwrap();
    let found = buffered(0);
    checkpoint::load(&path, &found, &tables).unwrap().restore_buffers(&found).unwrap();
    let expected = written.buffers.named().unwrap();
    assert_eq!(expected.len(), 12);
    for ((name, one), (_, other)) in expected.iter().zip(found.buffers.named().unwrap()) {
        assert!(one.kind() == other.kind() && one.size() == other.size() && one.equal(&other), "{name}");
    }
    let fewer = Formula::new(2, 2, |w: &Tensor, _: &Tensor, _: &Batch| w.sum(None));
    assert!(checkpoint::load(&path, &fewer, &tables).is_ok(), "a network without buffers needs none");
}

#[test]
fn buffers_that_do_not_fit_are_named_and_change_nothing() {
    let buffers = buffered(1).buffers;
    let given = buffered(0).buffers.named().unwrap();
    let replaced = |name: &str, tensor: Option<Tensor>| -> Vec<(String, Tensor)> {
        let others = given.iter().filter(|(other, _)| other != name).map(|(n, t)| (n.clone(), t.shallow_clone()));
        others.chain(tensor.map(|tensor| (name.to_owned(), tensor))).collect()
    };
    let cases = [
        ("Float", replaced("Float", None)),
        ("Float", replaced("Float", Some(Tensor::zeros([2, 3], (Kind::Double, Device::Cpu))))),
        ("Bool", replaced("Bool", Some(Tensor::zeros([3, 2], (Kind::Bool, Device::Cpu))))),
        ("other", replaced("other", Some(Tensor::from(1.0)))),
    ];
    for (name, tensors) in cases {
        for error in [buffers.check(&tensors).unwrap_err(), buffers.load(&tensors).unwrap_err()] {
            assert_eq!(error.kind, ErrorKind::Data);
            assert!(error.detail.contains(name), "{name}: {}", error.detail);
        }
    }
    for (name, tensor) in buffers.named().unwrap() {
        assert_eq!(tensor.to_kind(Kind::Double).sum(Kind::Double).double_value(&[]), tensor.numel() as f64, "{name}");
    }
    buffers.load(&given).unwrap();
    assert!(
        buffers
            .tensors()
            .into_iter()
            .all(|tensor| tensor.to_kind(Kind::Double).abs().sum(None).double_value(&[]) == 0.0)
    );
}

#[test]
fn products_are_zero_where_a_loss_lacks_w_or_m() {
    let one = Tensor::from_slice(&[1.0, 2.0]);
    let product =
        |network: &dyn Network| network.hessian_product(&one, &one, &one, &batch(one.shallow_clone())).unwrap();
    for found in [
        product(&Formula::new(2, 2, |w: &Tensor, _: &Tensor, _: &Batch| (w * w).sum(None))),
        product(&Formula::new(2, 2, |_: &Tensor, m: &Tensor, _: &Batch| (m * m).sum(None))),
        product(&Formula::new(2, 2, |w: &Tensor, m: &Tensor, _: &Batch| (w + m).sum(None))),
        product(&Formula::new(2, 2, |_: &Tensor, _: &Tensor, _: &Batch| Tensor::from(1.0))),
    ] {
        assert_eq!(found, one.zeros_like());
    }
    let found = product(&Formula::new(2, 2, |w: &Tensor, m: &Tensor, _: &Batch| (w * w * m).sum(None)));
    assert_eq!(found, Tensor::from_slice(&[2.0, 8.0]));
}
