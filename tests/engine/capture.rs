//! A search with captured steps equals the eager search bit for bit, and so does one whose reports are read less often.
//!
//! The test double of a CUDA graph keeps a step and runs it again. Like a graph, it does not see values that the host
//! changes or tensors that are replaced after the capture.
#![cfg(feature = "torch")]

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::common::Whole;
use crate::options;
use pydarts::arch::Decision;
use pydarts::config::{Method, Resume, SearchConfig};
use pydarts::data::{Batch, Role, Segments, Source, TokenSource};
use pydarts::decide::Stop;
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::event::{Event, EventKind, Observer, Status, StepRecord};
use pydarts::nn::{Dropout, LanguageModel, LanguageOptions, Network, Relaxed, Supernet};
use pydarts::plan::{Geometry, Language, Plan};
use pydarts::random;
use pydarts::ranks::Share;
use pydarts::search::{self, Body, Fingerprint, GraphCapture, Outcome, Replay, Sources, State, run};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// Counts captured and replayed steps.
#[derive(Default)]
pub struct FakeGraphs {
    pub captured: Cell<usize>,
    pub replayed: Rc<Cell<usize>>,
    broken: bool,
    /// The number of captured steps at which an eager step runs out of memory.
    full_at: Option<usize>,
    released: Cell<usize>,
}

struct FakeReplay<'a> {
    body: Body<'a>,
    replayed: Rc<Cell<usize>>,
}

impl GraphCapture for FakeGraphs {
    fn warm_up(&self, body: &mut Body) -> Result<()> {
        match self.full_at == Some(self.captured.get()) {
            true => Err(Error::new(ErrorKind::OutOfMemory, "out of memory")),
            false => body(),
        }
    }

    fn release(&self) {
        self.released.set(self.released.get() + 1);
    }

    fn capture<'a>(&self, body: Body<'a>) -> Result<Box<dyn Replay + 'a>> {
        if self.broken {
            return Err(Error::engine("the graph is broken"));
        }
        self.captured.set(self.captured.get() + 1);
        Ok(Box::new(FakeReplay { body, replayed: Rc::clone(&self.replayed) }))
    }
}

impl Replay for FakeReplay<'_> {
    fn replay(&mut self) -> Result<()> {
        self.replayed.set(self.replayed.get() + 1);
        (self.body)()
    }
}

/// Batches of the given sizes. Those whose numbers, counted over all passes, are in `broken` have an infinite pixel.
pub struct Batches {
    purpose: &'static str,
    sizes: Vec<usize>,
    broken: Vec<usize>,
    pass: u64,
    position: usize,
}

pub fn batches(purpose: &'static str, sizes: &[usize]) -> Batches {
    Batches { purpose, sizes: sizes.to_vec(), broken: Vec::new(), pass: 0, position: 0 }
}

impl Source for Batches {
    fn batches(&self) -> Option<usize> {
        Some(self.sizes.len())
    }

    fn start(&mut self, pass: u64, skip: usize) -> Result<()> {
        (self.pass, self.position) = (pass, skip);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Batch>> {
        let Some(&n) = self.sizes.get(self.position) else { return Ok(None) };
        let number = self.pass as usize * self.sizes.len() + self.position;
        self.position += 1;
        let mut x = random::normal(5, self.purpose, number as u64, n * 64);
        if self.broken.contains(&number) {
            x[0] = f64::INFINITY;
        }
        let inputs = Tensor::from_slice(&x).view([n as i64, 1, 8, 8]).to_kind(Kind::Float);
        let targets = (0..n).map(|i| ((i + number) % 3) as i64).collect::<Vec<_>>();
        Ok(Some(Batch::new(inputs, Tensor::from_slice(&targets))))
    }
}

/// Stores the events of a search.
#[derive(Default)]
pub struct Listener {
    pub steps: Vec<(StepRecord, Vec<f64>)>,
    pub warnings: Vec<String>,
    /// The decisions of each epoch event.
    pub decided: Vec<(usize, Vec<Decision>)>,
    /// The folder that is copied after each checkpoint, as if the process were killed there, and the copies.
    pub killed: Option<PathBuf>,
    pub copies: Vec<TempDir>,
    /// The number of step events before each checkpoint.
    checkpoints: Vec<usize>,
    /// The step whose event raises an error.
    pub refuses: Option<u64>,
    /// Whether the observer does not want steps.
    ignores_steps: bool,
    /// The number of polls, and the poll that interrupts the search.
    polls: usize,
    pub interrupts_at: Option<usize>,
}

fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

impl Observer for Listener {
    fn wants(&self, kind: EventKind) -> bool {
        kind != EventKind::Step || !self.ignores_steps
    }

    fn poll(&mut self) -> Result<()> {
        self.polls += 1;
        match self.interrupts_at == Some(self.polls) {
            true => Err(Error::new(ErrorKind::Interrupted, "interrupted by the test")),
            false => Ok(()),
        }
    }

    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Step { record, alphas, .. } => {
                if self.refuses == Some(record.step) {
                    return Err(Error::new(ErrorKind::Foreign, "the listener raised an error"));
                }
                let alphas = alphas.iter().flat_map(|(_, table)| table.iter().copied()).collect();
                self.steps.push(((*record).clone(), alphas));
            }
            Event::Warning { message } => self.warnings.push((*message).to_owned()),
            Event::Checkpoint { .. } => {
                self.checkpoints.push(self.steps.len());
                self.copies.extend(self.killed.as_deref().map(copy_of));
            }
            Event::Epoch { record, decisions, .. } => self.decided.push((record.epoch, decisions.to_vec())),
            _ => {}
        }
        Ok(())
    }
}

pub fn config(changes: Value) -> SearchConfig {
    let mut object = json!({
        "channels": 2, "layers": 3, "nodes": 2, "operations": ["none", "skip_connect", "sep_conv_3x3"],
        "num_classes": 3, "in_channels": 1, "image_size": 8, "epochs": 3, "weight_lr": 0.1, "arch_lr": 0.01,
        "record": "step",
    });
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    SearchConfig::from_json(&object.to_string()).unwrap()
}

/// The outcome of a search, its statistics and its events.
pub struct Seen {
    pub outcome: Outcome,
    statistics: Vec<(String, Tensor)>,
    pub listener: Listener,
}

pub struct Search {
    pub config: SearchConfig,
    pub train: Batches,
    pub valid: Batches,
    pub listener: Listener,
    pub deciders: Vec<Stop>,
}

pub fn search(changes: Value) -> Search {
    let (train, valid) = (batches("train", &[4; 6]), batches("valid", &[4; 5]));
    Search { config: config(changes), train, valid, listener: Listener::default(), deciders: Vec::new() }
}

impl Search {
    pub fn run(self, graphs: Option<&FakeGraphs>) -> Seen {
        self.try_run(graphs).unwrap()
    }

    pub fn try_run(mut self, graphs: Option<&FakeGraphs>) -> Result<Seen> {
        tch::set_num_threads(1);
        let (kind, device) = (Kind::Float, Device::Cpu);
        let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
        let plan = Plan::lower(&self.config.space, &geometry).unwrap();
        let network = Supernet::new(plan, options::plain(kind)).unwrap();
        let initial = State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, kind, device);
        let mut evaluation = batches("evaluation", &[4, 3]);
        let sources = Sources { train: &mut self.train, valid: &mut self.valid, evaluation: &mut evaluation };
        let graphs = graphs.map(|graphs| graphs as &dyn GraphCapture);
        let whole = Whole::of(&network, &self.config);
        let micro_batch = self.config.execution.micro_batch;
        let outcome = run(
            Relaxed { micro_batch, ..whole.relaxed() },
            search::Search {
                graphs,
                deciders: &self.deciders,
                ..search::Search::new(&self.config, &Fingerprint::default())
            },
            initial.unwrap(),
            sources,
            &mut self.listener,
        )?;
        Ok(Seen { outcome, statistics: network.buffers().unwrap().named().unwrap(), listener: self.listener })
    }
}

fn assert_heard(one: &Seen, other: &Seen, what: &str) {
    assert_same(one, other, what);
    assert_eq!(one.listener.steps, other.listener.steps, "{what}");
}

pub fn assert_same(one: &Seen, other: &Seen, what: &str) {
    let (a, b) = (&one.outcome, &other.outcome);
    assert_eq!(a.trajectory, b.trajectory, "{what}");
    assert_eq!((&a.decisions, &a.restrictions), (&b.decisions, &b.restrictions), "{what}");
    assert_eq!((a.status, &a.architecture), (b.status, &b.architecture), "{what}");
    assert_same_state(one, other, what);
    let record = |seen: &Seen| -> Vec<_> {
        let history = seen.outcome.history.iter();
        history.map(|r| (r.train_loss, r.valid_loss, r.train_accuracy, r.valid_accuracy, r.learning_rate)).collect()
    };
    assert_eq!(record(one), record(other), "{what}");
}

pub fn assert_same_state(one: &Seen, other: &Seen, what: &str) {
    let (a, b) = (&one.outcome.state, &other.outcome.state);
    let pairs = [
        (&a.w, &b.w),
        (&a.alpha, &b.alpha),
        (&a.momentum, &b.momentum),
        (&a.moments.exp_avg, &b.moments.exp_avg),
        (&a.moments.exp_avg_sq, &b.moments.exp_avg_sq),
    ];
    for (index, (a, b)) in pairs.iter().enumerate() {
        assert!(a.equal(b), "{what}: tensor {index} of the state");
    }
    assert_eq!((a.step, a.moments.step), (b.step, b.moments.step), "{what}");
    for ((name, a), (_, b)) in one.statistics.iter().zip(&other.statistics) {
        assert!(a.equal(b), "{what}: {name}");
    }
}

const METHODS: [Method; 3] = [Method::FirstOrder, Method::Unrolled, Method::UnrolledExact];

#[test]
fn a_captured_search_equals_the_eager_one_for_every_hypergradient() {
    for method in METHODS {
        // α does not move in the first epoch; the learning rate changes every epoch, Adam's corrections every step.
        let made = || search(json!({"hypergradient": method, "arch_start_epoch": 1}));
        let (graphs, eager) = (FakeGraphs::default(), made().run(None));
        let captured = made().run(Some(&graphs));
        assert_eq!(eager.outcome.status, Status::Complete);
        assert_heard(&eager, &captured, &format!("{method:?}"));
        assert!(captured.listener.warnings.is_empty(), "{:?}", captured.listener.warnings);
        // Six steps without α and twelve with it; the first two of each kind warm up.
        assert_eq!((graphs.captured.get(), graphs.replayed.get()), (2, 4 + 10), "{method:?}");
        let rates: Vec<f64> = eager.outcome.history.iter().map(|record| record.learning_rate).collect();
        assert!(rates[0] > rates[1] && rates[1] > rates[2] && !eager.outcome.trajectory.points[7..].is_empty());
    }
}

#[test]
fn each_shape_of_batches_is_captured_up_to_a_limit() {
    let made = |sizes: &[usize]| Search { train: batches("train", sizes), ..search(json!({"epochs": 5})) };
    for (sizes, captures, replays) in [
        // Two shapes, fifteen and five steps.
        (&[4, 4, 4, 3][..], 2, 13 + 3),
        // Six shapes, five steps each: the last two are never captured.
        (&[2, 3, 4, 5, 6, 7], 4, 4 * 3),
    ] {
        let graphs = FakeGraphs::default();
        let captured = made(sizes).run(Some(&graphs));
        assert_heard(&made(sizes).run(None), &captured, &format!("{sizes:?}"));
        assert_eq!((graphs.captured.get(), graphs.replayed.get()), (captures, replays), "{sizes:?}");
    }
}

#[test]
fn larger_batches_with_more_micro_batches_do_not_end_the_capture_of_smaller_ones() {
    let made = || Search {
        train: batches("train", &[4, 4, 4, 7]),
        ..search(json!({"epochs": 4, "relaxation": "gumbel", "micro_batch": 3}))
    };
    let graphs = FakeGraphs::default();
    let captured = made().run(Some(&graphs));
    assert_heard(&made().run(None), &captured, "micro-batches");
    assert!(captured.listener.warnings.is_empty(), "{:?}", captured.listener.warnings);
    // Twelve steps of one shape and four of the other.
    assert_eq!((graphs.captured.get(), graphs.replayed.get()), (2, 10 + 2));
}

/// A search on a text. Its segments have two lengths, and each epoch ends differently.
pub fn on_words(method: Method, graphs: Option<&FakeGraphs>, deciders: &[Stop]) -> Seen {
    tch::set_num_threads(1);
    let (kind, device) = (Kind::Float, Device::Cpu);
    let config = json!({"space": "darts-rnn", "nodes": 2, "num_classes": 7, "units": 5, "bptt": 6, "epochs": 3,
        "batch_size": 3, "hypergradient": method, "record": "step", "seed": 4, "relaxation": "gumbel",
        "weight_lr": 1.0, "weight_lr_min": 1.0});
    let config = SearchConfig::from_json(&config.to_string()).unwrap();
    let plan = Plan::lower_language(&config.space, &Language { words: 7, units: 5 }).unwrap();
    let dropout = Dropout { input: 0.3, hidden: 0.2, output: 0.5, ..Dropout::default() };
    let of_words = LanguageOptions { dropout, seed: 4, ..options::of_words(3, 6) };
    let network = LanguageModel::new(plan, options::plain(kind), of_words).unwrap();
    let text = |role: Role, count: usize| {
        let drawn = random::uniform(5, &format!("{role:?}"), 0, count, 0.0, 7.0);
        let tokens: Vec<i64> = drawn.into_iter().map(|number| number as i64).collect();
        let cut = Segments { batch: 3, bptt: 6, seed: 4, role, share: Share::WHOLE };
        TokenSource::new(&Tensor::from_slice(&tokens), 7, cut, device, "the text").unwrap()
    };
    let [mut train, mut valid, mut evaluation] =
        [(Role::Train, 3 * 62), (Role::Valid, 3 * 55), (Role::Evaluation, 3 * 20)].map(|(role, n)| text(role, n));
    let initial = State::initial(network.plan(), pydarts::config::ArchInit::default(), 1, kind, device);
    let mut listener = Listener::default();
    let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
    let graphs = graphs.map(|graphs| graphs as &dyn GraphCapture);
    let whole = Whole::of(&network, &config);
    let fingerprint = Fingerprint::default();
    let search = search::Search { graphs, deciders, ..search::Search::new(&config, &fingerprint) };
    let outcome = run(whole.relaxed(), search, initial.unwrap(), sources, &mut listener).unwrap();
    Seen { outcome, statistics: network.buffers().unwrap().named().unwrap(), listener }
}

#[test]
fn a_captured_search_on_words_equals_the_eager_one() {
    for method in METHODS {
        let (graphs, eager) = (FakeGraphs::default(), on_words(method, None, &[]));
        let captured = on_words(method, Some(&graphs), &[]);
        assert_eq!(eager.outcome.status, Status::Complete);
        assert_heard(&eager, &captured, &format!("{method:?}"));
        assert!(captured.listener.warnings.is_empty(), "{:?}", captured.listener.warnings);
        let steps = eager.listener.steps.len();
        assert!(
            graphs.captured.get() <= 3 && graphs.replayed.get() > steps / 2,
            "{} of {steps}",
            graphs.replayed.get()
        );
        let state = |seen: &Seen| seen.outcome.state.carried.train.as_ref().unwrap().copy();
        assert!(state(&eager).equal(&state(&captured)), "{method:?}: hidden state");
    }
}

#[test]
fn a_step_that_cannot_be_captured_runs_eagerly_with_one_warning() {
    let graphs = FakeGraphs { broken: true, ..FakeGraphs::default() };
    let seen = search(json!({})).run(Some(&graphs));
    assert_heard(&search(json!({})).run(None), &seen, "broken");
    assert_eq!(seen.listener.warnings.len(), 1);
    assert!(seen.listener.warnings[0].contains("the graph is broken"), "{}", seen.listener.warnings[0]);
}

#[test]
fn noise_is_never_captured_and_a_warning_names_it() {
    let made = || search(json!({"operations": ["noise", "sep_conv_3x3"]}));
    let graphs = FakeGraphs::default();
    let seen = made().run(Some(&graphs));
    assert_heard(&made().run(None), &seen, "noise");
    assert_eq!((graphs.captured.get(), graphs.released.get(), seen.listener.warnings.len()), (0, 1, 1));
    assert!(seen.listener.warnings[0].contains("`noise`"), "{:?}", seen.listener.warnings);
}

#[test]
fn graphs_are_released_if_a_step_runs_out_of_memory() {
    let made = || Search { train: batches("train", &[4, 4, 4, 3]), ..search(json!({})) };
    let graphs = FakeGraphs { full_at: Some(1), ..FakeGraphs::default() };
    let seen = made().run(Some(&graphs));
    assert_heard(&made().run(None), &seen, "full");
    assert_eq!((graphs.captured.get(), graphs.replayed.get(), graphs.released.get()), (1, 1, 1));
    assert!(seen.listener.warnings[0].contains("memory"), "{:?}", seen.listener.warnings);
    // Without graphs to release, the search fails.
    let nothing = FakeGraphs { full_at: Some(0), ..FakeGraphs::default() };
    assert_eq!(made().run(Some(&nothing)).outcome.error.unwrap().kind, ErrorKind::OutOfMemory);
}

#[test]
fn reading_reports_less_often_changes_only_when_events_are_sent() {
    for method in METHODS {
        let made = |log_every: usize| search(json!({"hypergradient": method, "log_every": log_every, "record": 4}));
        let always = made(1).run(None);
        assert_heard(&always, &made(4).run(None), &format!("{method:?}"));
        assert_heard(&always, &made(100).run(Some(&FakeGraphs::default())), &format!("{method:?}, captured"));
    }
}

#[test]
fn a_failed_step_and_all_after_it_are_rolled_back() {
    // One of the two streams has a bad batch in step 9 of 18, in the middle of the pending steps; good batches follow.
    let whole = search(json!({})).run(None);
    // The last good state equals that after nine steps of a good search.
    let stopped = Listener { refuses: Some(8), ..Listener::default() };
    let nine = Search { listener: stopped, ..search(json!({})) }.run(None);
    assert_eq!(nine.outcome.state.step, 9);
    for (in_train, what) in [(true, "training loss"), (false, "validation loss")] {
        for log_every in [1, 100] {
            for graphs in [None, Some(FakeGraphs::default())] {
                let made = |folder: &str| {
                    let changes = json!({"log_every": log_every, "record": "step", "checkpoint_dir": folder});
                    let mut made = search(changes);
                    let broken = if in_train { &mut made.train } else { &mut made.valid };
                    broken.broken = vec![9];
                    made
                };
                let folder = tempfile::tempdir().unwrap();
                let seen = made(folder.path().to_str().unwrap()).run(graphs.as_ref());
                let (what, error) = (format!("{what}, {log_every}"), seen.outcome.error.as_ref().unwrap());
                assert_eq!((seen.outcome.status, error.kind), (Status::Failed, ErrorKind::Numerical), "{what}");
                assert!(error.detail.contains("became NaN at step 9"), "{what}: {error}");
                assert!(error.detail.contains(what.split(',').next().unwrap()), "{what}: {error}");
                assert_eq!(seen.outcome.trajectory.points[..], whole.outcome.trajectory.points[..10], "{what}");
                assert_eq!(seen.listener.steps[..], whole.listener.steps[..9], "{what}");
                assert_same_state(&nine, &seen, &what);
                // The checkpoint resumes from there, with another log_every.
                let mut rest = made(folder.path().to_str().unwrap());
                (rest.train.broken, rest.valid.broken) = (Vec::new(), Vec::new());
                (rest.config.execution.resume, rest.config.execution.log_every) = (Resume::Yes, 3);
                let resumed = rest.run(None);
                assert_eq!(resumed.outcome.trajectory, whole.outcome.trajectory, "{what}");
                assert_same_state(&whole, &resumed, &what);
            }
        }
    }
}

#[test]
fn a_checkpoint_within_an_epoch_reads_pending_reports() {
    let folder = RefCell::new(tempfile::tempdir().unwrap());
    let made = |log_every: usize| {
        *folder.borrow_mut() = tempfile::tempdir().unwrap();
        let path = folder.borrow().path().to_str().unwrap().to_owned();
        search(json!({"log_every": log_every, "checkpoint_every": 4, "checkpoint_dir": path}))
    };
    let always = made(1).run(None);
    // After steps 4, 8, 12 and 16, before the event of the step, and at the ends of epochs.
    assert_eq!(always.listener.checkpoints, [3, 6, 7, 11, 12, 15, 18]);
    let seldom = made(100).run(None);
    assert_heard(&always, &seldom, "checkpoints");
    assert_eq!(seldom.listener.checkpoints, [0, 6, 6, 8, 12, 12, 18]);
}

#[test]
fn the_state_agrees_with_its_count_after_an_error_of_the_observer() {
    for log_every in [1, 4] {
        let listener = Listener { refuses: Some(5), ..Listener::default() };
        let seen = Search { listener, ..search(json!({"log_every": log_every})) }.run(None);
        let Outcome { state, trajectory, status, .. } = &seen.outcome;
        assert_eq!((*status, seen.listener.steps.len()), (Status::Failed, 5));
        assert_eq!(state.step, 6, "the reports of the epoch were read");
        assert_eq!(trajectory.steps.last(), Some(&state.step));
    }
}

#[test]
fn an_observer_that_does_not_want_steps_receives_none_and_changes_nothing() {
    for record in ["step", "epoch"] {
        let heard = search(json!({"record": record})).run(None);
        let mut quiet = search(json!({"record": record}));
        quiet.listener.ignores_steps = true;
        let quiet = quiet.run(None);
        assert_eq!((heard.listener.steps.len(), quiet.listener.steps.len()), (18, 0));
        assert_eq!(heard.outcome.trajectory, quiet.outcome.trajectory, "{record}");
        assert_same_state(&heard, &quiet, record);
    }
}

#[test]
fn an_interrupt_from_the_observer_ends_the_search_between_steps() {
    let mut interrupted = search(json!({}));
    interrupted.listener.interrupts_at = Some(3);
    let seen = interrupted.run(None);
    assert_eq!(seen.outcome.status, Status::Interrupted);
    assert_eq!((seen.outcome.state.step, seen.listener.steps.len()), (2, 2));
}
