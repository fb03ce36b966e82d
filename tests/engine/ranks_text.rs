//! Language models on several ranks, against one process that reads the sequences block by block.
#![cfg(feature = "torch")]

use std::path::Path;
use std::thread;

use crate::capture::Listener;
use crate::meeting::{Meeting, Seat};
use crate::options;
use pydarts::config::{ArchInit, SearchConfig};
use pydarts::data::{Batch, Role, Segments, TokenSource};
use pydarts::error::{Error, Result};
use pydarts::event::Status;
use pydarts::nn::{Buffers, By, Dropout, Gradients, LanguageModel, LanguageOptions, Loss, Mode, Network};
use pydarts::nn::{NetworkOptions, Parts, Relaxations, Relaxed};
use pydarts::params::Table;
use pydarts::plan::{Language, Plan};
use pydarts::random;
use pydarts::ranks::{Collective, Group, Ranks, Share};
use pydarts::search::{self, Fingerprint, Outcome, Sources, State, run};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const SEQUENCES: usize = 7;
const PLACE: (Kind, Device) = (Kind::Double, Device::Cpu);

/// One process that computes what the ranks compute: a model for each block of sequences.
struct Blocks(Vec<LanguageModel>);

impl Blocks {
    fn shares(&self) -> impl Iterator<Item = (&LanguageModel, Share)> {
        let ranks = self.0.len();
        self.0.iter().enumerate().map(move |(rank, model)| (model, Share { rank, ranks }))
    }

    /// What `compute` returns for each block, with its share of the sequences.
    fn each<T>(&self, batch: &Batch, compute: impl Fn(&LanguageModel, &Batch) -> Result<T>) -> Result<Vec<(T, f64)>> {
        let width = batch.width();
        let block = |(model, share): (&LanguageModel, Share)| {
            let (first, count) = share.range(width);
            let some = |tensor: &Tensor, dim: i64| tensor.narrow(dim, first, count);
            let carried = batch.carried.as_ref().map(|carried| some(carried, 0));
            let inputs = Batch { carried, ..Batch::new(some(&batch.inputs, 1), some(&batch.targets, 1)) };
            Ok((compute(model, &inputs)?, count as f64 / width as f64))
        };
        self.shares().map(block).collect()
    }
}

/// Gradients, and the buffers that their pass moved.
type Moved = (Gradients, Vec<(String, Tensor)>);

/// The mean of losses; counts are summed and states joined.
fn joined(losses: Vec<(Loss, f64)>) -> Loss {
    let value = losses.iter().map(|(loss, share)| &loss.value * *share).reduce(|sum, one| sum + one).unwrap();
    let correct = losses.iter().filter_map(|(loss, _)| loss.correct.as_ref()).map(Tensor::copy);
    let carried: Vec<&Tensor> = losses.iter().filter_map(|(loss, _)| loss.carried.as_ref()).collect();
    Loss { value, correct: correct.reduce(|sum, one| sum + one), carried: Some(Tensor::cat(&carried, 0)) }
}

impl Network for Blocks {
    fn weights(&self) -> &Table {
        self.0[0].weights()
    }
    fn alphas(&self) -> &Table {
        self.0[0].alphas()
    }
    fn buffers(&self) -> Option<&dyn Buffers> {
        self.0[0].buffers()
    }
    fn loss(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode) -> Result<Loss> {
        Ok(joined(self.each(batch, |model, batch| model.loss(w, m, batch, mode))?))
    }
    fn gradients(&self, w: &Tensor, m: &Tensor, batch: &Batch, mode: Mode, by: By) -> Result<Gradients> {
        let before = self.0[0].buffers().unwrap().named()?;
        let found = self.each(batch, |model, batch| {
            let buffers = model.buffers().unwrap();
            buffers.load(&before)?;
            Ok((model.gradients(w, m, batch, mode, by)?, buffers.named()?))
        })?;
        let mean = |of: &dyn Fn(&Moved) -> Tensor| {
            found.iter().map(|(one, share)| of(one) * *share).reduce(|sum, one| sum + one).unwrap()
        };
        let moved: Vec<(String, Tensor)> = (0..before.len())
            .map(|index| {
                let (name, last) = &found[found.len() - 1].0.1[index];
                let floating = last.is_floating_point();
                (name.clone(), if floating { mean(&|(_, buffers)| buffers[index].1.copy()) } else { last.copy() })
            })
            .collect();
        self.0[0].buffers().unwrap().load(&moved)?;
        let m_gradient = by.alpha().then(|| mean(&|(found, _)| found.alpha().unwrap().copy()));
        let w_gradient = by.weights().then(|| mean(&|(found, _)| found.w().unwrap().copy()));
        let losses = found.into_iter().map(|((found, _), share)| (found.loss, share)).collect();
        Gradients::new(joined(losses), m_gradient, w_gradient)
    }
    fn beginning(&self, batch: &Batch) -> Result<Option<Tensor>> {
        self.0[0].beginning(batch)
    }
    fn draw(&self, step: u64, parts: &Parts) -> Result<()> {
        self.0.iter().try_for_each(|model| model.draw(step, parts))
    }
    fn set_exact(&self, on: bool) -> Result<()> {
        self.0.iter().try_for_each(|model| model.set_exact(on))
    }
    fn kind(&self) -> Kind {
        Kind::Double
    }
    fn device(&self) -> Device {
        Device::Cpu
    }
}

fn config(changes: Value) -> SearchConfig {
    let mut object = json!({"space": "darts-rnn", "nodes": 2, "num_classes": 9, "units": 5, "bptt": 6, "epochs": 2,
        "batch_size": SEQUENCES, "record": "step", "seed": 4, "weight_lr": 1.0, "weight_lr_min": 1.0,
        "arch_lr": 0.01, "eval_batch_size": 6});
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    SearchConfig::from_json(&object.to_string()).unwrap()
}

fn model(config: &SearchConfig, share: Share) -> LanguageModel {
    let plan = Plan::lower_language(&config.space, &Language { words: 9, units: 5 }).unwrap();
    let dropout = Dropout { rows: 0.1, input: 0.3, hidden: 0.2, output: 0.5, ..Dropout::default() };
    let of_words = LanguageOptions { dropout, seed: 4, ..options::of_words(SEQUENCES as i64, 6) };
    LanguageModel::new(plan, NetworkOptions { share, ..options::plain(Kind::Double) }, of_words).unwrap()
}

fn search(network: &dyn Network, config: &SearchConfig, ranks: Ranks, listener: &mut Listener) -> Result<Outcome> {
    tch::set_num_threads(1);
    let text = |role: Role, length: usize, batch: usize| {
        let drawn = random::uniform(5, &format!("{role:?}"), 0, length * batch, 0.0, 9.0);
        let tokens: Vec<i64> = drawn.into_iter().map(|number| number as i64).collect();
        let cut = Segments { batch, bptt: 6, seed: 4, role, share: ranks.share() };
        TokenSource::new(&Tensor::from_slice(&tokens), 9, cut, Device::Cpu, "the text").unwrap()
    };
    let mut train = text(Role::Train, 32, SEQUENCES);
    let mut valid = text(Role::Valid, 20, SEQUENCES);
    let mut evaluation = text(Role::Evaluation, 15, 6);
    let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
    let plan = Plan::lower_language(&config.space, &Language { words: 9, units: 5 }).unwrap();
    let initial = State::initial(&plan, ArchInit::default(), 1, Kind::Double, Device::Cpu)?;
    let relaxations = Relaxations::of(&config.optimisation, config.space.logit_tables(), PLACE)?;
    let relaxed = Relaxed { network, relaxations: &relaxations, micro_batch: None, ranks };
    run(relaxed, search::Search::new(config, &Fingerprint::default()), initial, sources, listener)
}

/// The outcomes of all ranks with their statistics; rank 1 is interrupted at a poll.
fn together(changes: &Value, ranks: usize, interrupts_at: Option<usize>) -> Vec<(Outcome, Vec<(String, Tensor)>)> {
    let meeting = Meeting::new(ranks);
    thread::scope(|scope| {
        let one = |rank: usize| {
            let meeting = &meeting;
            scope.spawn(move || {
                let seat = Seat(meeting, rank);
                let group = Group::new(&seat, Device::Cpu);
                let config = config(changes.clone());
                let network = model(&config, Share { rank, ranks });
                let mut listener = Listener::default();
                listener.interrupts_at = interrupts_at.filter(|_| rank == 1);
                let outcome = search(&network, &config, Ranks::of(&group), &mut listener);
                let outcome = outcome.inspect_err(|error: &Error| seat.leave(error)).unwrap();
                (outcome, network.buffers().unwrap().named().unwrap())
            })
        };
        let threads: Vec<_> = (0..ranks).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn tensors((outcome, statistics): &(Outcome, Vec<(String, Tensor)>)) -> Vec<Tensor> {
    let state = &outcome.state;
    let moments = [&state.moments.exp_avg, &state.moments.exp_avg_sq];
    let all = [&state.alpha, &state.w, &state.momentum].into_iter().chain(moments);
    all.chain(statistics.iter().map(|(_, tensor)| tensor)).map(|tensor| tensor.to_kind(Kind::Double)).collect()
}

#[test]
fn ranks_equal_one_process_that_reads_block_by_block() {
    for (ranks, method) in [(2, "first_order"), (3, "unrolled")] {
        let changes = json!({"hypergradient": method});
        let found = together(&changes, ranks, None);
        let config = config(changes);
        let blocks = Blocks((0..ranks).map(|rank| model(&config, Share { rank, ranks })).collect());
        let alone = search(&blocks, &config, Ranks::ALONE, &mut Listener::default()).unwrap();
        let expected = (alone, blocks.buffers().unwrap().named().unwrap());
        assert_eq!(expected.0.status, Status::Complete, "{:?}", expected.0.error);
        for one in &found {
            assert_eq!(one.0.trajectory.steps, expected.0.trajectory.steps);
            for (index, (one, other)) in tensors(one).iter().zip(tensors(&expected)).enumerate() {
                let error = (one - &other).abs().max().double_value(&[]);
                assert!(error <= 1e-12 * other.abs().max().double_value(&[]).max(1.0), "{method}: {index}: {error:e}");
            }
            for (one, other) in one.0.history.iter().zip(&expected.0.history) {
                assert!((one.valid_loss - other.valid_loss).abs() < 1e-12, "{} {}", one.valid_loss, other.valid_loss);
                assert!((one.train_loss - other.train_loss).abs() < 1e-12);
                assert_eq!(one.valid_accuracy, other.valid_accuracy);
            }
        }
    }
}

#[test]
fn hidden_states_of_all_ranks_are_in_the_checkpoint() {
    let folder = |path: &Path, resume: bool| json!({"epochs": 3, "checkpoint_dir": path, "resume": resume});
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = together(&folder(whole.path(), false), 2, None);
    let first = together(&folder(parts.path(), false), 2, Some(9));
    assert_eq!((first[0].0.status, first[1].0.status), (Status::Interrupted, Status::Interrupted));
    assert!(first[0].0.trajectory.steps.len() > 5, "interrupted in the middle of an epoch");
    let resumed = together(&folder(parts.path(), true), 2, None);
    for (one, other) in resumed.iter().zip(&expected) {
        assert_eq!(one.0.trajectory, other.0.trajectory);
        assert!(tensors(one).iter().zip(tensors(other)).all(|(one, other)| one.equal(&other)));
    }
}
