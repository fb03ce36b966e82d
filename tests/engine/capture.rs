//! A recorded search is the eager one, bit for bit; so is one that the host looks at less often.
//!
//! The recorder here stands in for a CUDA graph. It keeps the step that it is given and runs that one again: whatever
//! the step took from the host when it was made, and whatever is put in the place of a tensor later, it never sees.
#![cfg(feature = "torch")]

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::options;
use pydarts::config::{Method, SearchConfig};
use pydarts::data::{Batch, Role, Segments, Source, TokenSource};
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::event::{Event, Observer, Status, StepRecord, StopFlag};
use pydarts::nn::{Dropout, LanguageModel, LanguageOptions, Network, Supernet};
use pydarts::plan::{Geometry, Language, Plan};
use pydarts::random;
use pydarts::search::{Body, Outcome, Recorder, Replay, Sources, State, run};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// Counts what was recorded and replayed.
#[derive(Default)]
struct Tape {
    recorded: Cell<usize>,
    replayed: Rc<Cell<usize>>,
    broken: bool,
    /// Where so many are recorded, there is no memory for steps that run as they are.
    full_at: Option<usize>,
    released: Cell<usize>,
}

struct Track<'a> {
    body: Body<'a>,
    replayed: Rc<Cell<usize>>,
}

impl Recorder for Tape {
    fn warm_up(&self, body: &mut Body) -> Result<()> {
        match self.full_at == Some(self.recorded.get()) {
            true => Err(Error::new(ErrorKind::OutOfMemory, "out of memory")),
            false => body(),
        }
    }

    fn release(&self) {
        self.released.set(self.released.get() + 1);
    }

    fn record<'a>(&self, body: Body<'a>) -> Result<Box<dyn Replay + 'a>> {
        if self.broken {
            return Err(Error::engine("the tape is torn"));
        }
        self.recorded.set(self.recorded.get() + 1);
        Ok(Box::new(Track { body, replayed: Rc::clone(&self.replayed) }))
    }
}

impl Replay for Track<'_> {
    fn replay(&mut self) -> Result<()> {
        self.replayed.set(self.replayed.get() + 1);
        (self.body)()
    }
}

/// Batches of the given sizes, those numbered in `broken` (counted over all passes) with an infinite pixel.
struct Batches {
    purpose: &'static str,
    sizes: Vec<usize>,
    broken: Vec<usize>,
    pass: u64,
    position: usize,
}

fn batches(purpose: &'static str, sizes: &[usize]) -> Batches {
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

/// What is told.
#[derive(Default)]
struct Listener {
    steps: Vec<(StepRecord, Vec<f64>)>,
    warnings: Vec<String>,
    /// Steps told before each checkpoint.
    checkpoints: Vec<usize>,
    /// The step whose event is refused.
    refuses: Option<u64>,
}

impl Observer for Listener {
    fn observe(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Step { record, alphas } => {
                if self.refuses == Some(record.step) {
                    return Err(Error::new(ErrorKind::Foreign, "the listener had enough"));
                }
                let alphas = alphas.iter().flat_map(|(_, table)| table.iter().copied()).collect();
                self.steps.push(((*record).clone(), alphas));
            }
            Event::Warning { message } => self.warnings.push((*message).to_owned()),
            Event::Checkpoint { .. } => self.checkpoints.push(self.steps.len()),
            _ => {}
        }
        Ok(())
    }
}

fn config(changes: Value) -> SearchConfig {
    let mut object = json!({
        "channels": 2, "layers": 3, "nodes": 2, "operations": ["none", "skip_connect", "sep_conv_3x3"],
        "num_classes": 3, "in_channels": 1, "image_size": 8, "epochs": 3, "weight_lr": 0.1, "arch_lr": 0.01,
        "record": "step",
    });
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    SearchConfig::from_json(&object.to_string()).unwrap()
}

/// A search and all that it leaves.
struct Seen {
    outcome: Outcome,
    statistics: Vec<(String, Tensor)>,
    listener: Listener,
}

struct Search {
    config: SearchConfig,
    train: Batches,
    valid: Batches,
    listener: Listener,
}

fn search(changes: Value) -> Search {
    let (train, valid) = (batches("train", &[4; 6]), batches("valid", &[4; 5]));
    Search { config: config(changes), train, valid, listener: Listener::default() }
}

impl Search {
    fn run(mut self, tape: Option<&Tape>) -> Seen {
        tch::set_num_threads(1);
        let (kind, device) = (Kind::Float, Device::Cpu);
        let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
        let plan = Plan::lower(&self.config.space, &geometry).unwrap();
        let network = Supernet::new(plan, options::plain(kind)).unwrap();
        let initial = State::initial(network.plan(), 1, kind, device);
        let mut evaluation = batches("evaluation", &[4, 3]);
        let sources = Sources { train: &mut self.train, valid: &mut self.valid, evaluation: &mut evaluation };
        let recorder = tape.map(|tape| tape as &dyn Recorder);
        let stop = StopFlag::default();
        let outcome =
            run(&network, &self.config, initial.unwrap(), sources, &mut self.listener, &stop, recorder).unwrap();
        Seen { outcome, statistics: network.statistics().unwrap().named().unwrap(), listener: self.listener }
    }
}

fn assert_same(one: &Seen, other: &Seen, what: &str) {
    let (a, b) = (&one.outcome, &other.outcome);
    assert_eq!(a.trajectory, b.trajectory, "{what}");
    assert_same_state(one, other, what);
    assert_eq!(one.listener.steps, other.listener.steps, "{what}");
    let record = |seen: &Seen| -> Vec<_> {
        let history = seen.outcome.history.iter();
        history.map(|r| (r.train_loss, r.valid_loss, r.train_accuracy, r.valid_accuracy, r.learning_rate)).collect()
    };
    assert_eq!(record(one), record(other), "{what}");
}

fn assert_same_state(one: &Seen, other: &Seen, what: &str) {
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
fn a_recorded_search_is_the_eager_one_for_every_hypergradient() {
    for method in METHODS {
        // α rests for an epoch, the learning rate falls from epoch to epoch, Adam's corrections from step to step.
        let made = || search(json!({"hypergradient": method, "arch_start_epoch": 1}));
        let (tape, eager) = (Tape::default(), made().run(None));
        let recorded = made().run(Some(&tape));
        assert_eq!(eager.outcome.status, Status::Complete);
        assert_same(&eager, &recorded, &format!("{method:?}"));
        assert!(recorded.listener.warnings.is_empty(), "{:?}", recorded.listener.warnings);
        // Six steps without α and twelve with it, each kind warmed up by two.
        assert_eq!((tape.recorded.get(), tape.replayed.get()), (2, 4 + 10), "{method:?}");
        let rates: Vec<f64> = eager.outcome.history.iter().map(|record| record.learning_rate).collect();
        assert!(rates[0] > rates[1] && rates[1] > rates[2] && !eager.outcome.trajectory.points[7..].is_empty());
    }
}

#[test]
fn batches_of_other_shapes_have_recordings_of_their_own_up_to_a_few() {
    let made = |sizes: &[usize]| Search { train: batches("train", sizes), ..search(json!({"epochs": 5})) };
    for (sizes, recordings, replays) in [
        // Two shapes, fifteen and five steps.
        (&[4, 4, 4, 3][..], 2, 13 + 3),
        // Six shapes, five steps each: the last two are never recorded.
        (&[2, 3, 4, 5, 6, 7], 4, 4 * 3),
    ] {
        let tape = Tape::default();
        let recorded = made(sizes).run(Some(&tape));
        assert_same(&made(sizes).run(None), &recorded, &format!("{sizes:?}"));
        assert_eq!((tape.recorded.get(), tape.replayed.get()), (recordings, replays), "{sizes:?}");
    }
}

/// A search on a text, whose segments have two lengths, and each epoch another end.
fn on_words(method: Method, tape: Option<&Tape>) -> Seen {
    tch::set_num_threads(1);
    let (kind, device) = (Kind::Float, Device::Cpu);
    let config = json!({"space": "darts-rnn", "nodes": 2, "num_classes": 7, "units": 5, "bptt": 6, "epochs": 3,
        "batch_size": 3, "hypergradient": method, "record": "step", "seed": 4, "weight_lr": 1.0, "weight_lr_min": 1.0});
    let config = SearchConfig::from_json(&config.to_string()).unwrap();
    let plan = Plan::lower_language(&config.space, &Language { words: 7, units: 5 }).unwrap();
    let dropout = Dropout { input: 0.3, hidden: 0.2, output: 0.5, ..Dropout::default() };
    let of_words = LanguageOptions { dropout, seed: 4, ..options::of_words(3, 6) };
    let network = LanguageModel::new(plan, options::plain(kind), of_words).unwrap();
    let text = |role: Role, count: usize| {
        let drawn = random::uniform(5, &format!("{role:?}"), 0, count, 0.0, 7.0);
        let tokens: Vec<i64> = drawn.into_iter().map(|number| number as i64).collect();
        let cut = Segments { batch: 3, bptt: 6, seed: 4, role };
        TokenSource::new(&Tensor::from_slice(&tokens), 7, cut, device, "the text").unwrap()
    };
    let [mut train, mut valid, mut evaluation] =
        [(Role::Train, 3 * 62), (Role::Valid, 3 * 55), (Role::Evaluation, 3 * 20)].map(|(role, n)| text(role, n));
    let initial = State::initial(network.plan(), 1, kind, device);
    let mut listener = Listener::default();
    let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
    let recorder = tape.map(|tape| tape as &dyn Recorder);
    let outcome =
        run(&network, &config, initial.unwrap(), sources, &mut listener, &StopFlag::default(), recorder).unwrap();
    Seen { outcome, statistics: network.statistics().unwrap().named().unwrap(), listener }
}

#[test]
fn a_recorded_search_on_words_is_the_eager_one() {
    for method in METHODS {
        let (tape, eager) = (Tape::default(), on_words(method, None));
        let recorded = on_words(method, Some(&tape));
        assert_eq!(eager.outcome.status, Status::Complete);
        assert_same(&eager, &recorded, &format!("{method:?}"));
        assert!(recorded.listener.warnings.is_empty(), "{:?}", recorded.listener.warnings);
        let steps = eager.listener.steps.len();
        assert!(tape.recorded.get() <= 3 && tape.replayed.get() > steps / 2, "{} of {steps}", tape.replayed.get());
        let state = |seen: &Seen| seen.outcome.state.carried.train.as_ref().unwrap().copy();
        assert!(state(&eager).equal(&state(&recorded)), "{method:?}: what the stream carries");
    }
}

#[test]
fn a_step_that_cannot_be_recorded_runs_as_it_is_and_one_warning_says_so() {
    let tape = Tape { broken: true, ..Tape::default() };
    let seen = search(json!({})).run(Some(&tape));
    assert_same(&search(json!({})).run(None), &seen, "broken");
    assert_eq!(seen.listener.warnings.len(), 1);
    assert!(seen.listener.warnings[0].contains("the tape is torn"), "{}", seen.listener.warnings[0]);
}

#[test]
fn recordings_make_room_for_a_step_that_runs_out_of_memory() {
    let made = || Search { train: batches("train", &[4, 4, 4, 3]), ..search(json!({})) };
    let tape = Tape { full_at: Some(1), ..Tape::default() };
    let seen = made().run(Some(&tape));
    assert_same(&made().run(None), &seen, "full");
    assert_eq!((tape.recorded.get(), tape.replayed.get(), tape.released.get()), (1, 1, 1));
    assert!(
        seen.listener.warnings[0].contains("the memory of what was captured is needed"),
        "{:?}",
        seen.listener.warnings
    );
    // With nothing to give back, that is the end.
    let nothing = Tape { full_at: Some(0), ..Tape::default() };
    assert_eq!(made().run(Some(&nothing)).outcome.error.unwrap().kind, ErrorKind::OutOfMemory);
}

#[test]
fn looking_less_often_changes_nothing_but_when_it_is_told() {
    for method in METHODS {
        let made = |log_every: usize| search(json!({"hypergradient": method, "log_every": log_every, "record": 4}));
        let always = made(1).run(None);
        assert_same(&always, &made(4).run(None), &format!("{method:?}"));
        assert_same(&always, &made(100).run(Some(&Tape::default())), &format!("{method:?}, recorded"));
    }
}

#[test]
fn a_failed_step_is_named_and_moves_nothing_nor_do_those_after_it() {
    // One of the two streams breaks in step 9 of 18, in the middle of a look, and good batches follow.
    let whole = search(json!({})).run(None);
    // The last good state is what nine steps of a good search leave.
    let stopped = Listener { refuses: Some(8), ..Listener::default() };
    let nine = Search { listener: stopped, ..search(json!({})) }.run(None);
    assert_eq!(nine.outcome.state.step, 9);
    for (in_train, what) in [(true, "training loss"), (false, "validation loss")] {
        for log_every in [1, 100] {
            for tape in [None, Some(Tape::default())] {
                let made = |folder: &str| {
                    let changes = json!({"log_every": log_every, "record": "step", "checkpoint_dir": folder});
                    let mut made = search(changes);
                    let broken = if in_train { &mut made.train } else { &mut made.valid };
                    broken.broken = vec![9];
                    made
                };
                let folder = tempfile::tempdir().unwrap();
                let seen = made(folder.path().to_str().unwrap()).run(tape.as_ref());
                let (what, error) = (format!("{what}, {log_every}"), seen.outcome.error.as_ref().unwrap());
                assert_eq!((seen.outcome.status, error.kind), (Status::Failed, ErrorKind::Numerical), "{what}");
                assert!(error.detail.contains("became NaN at step 9;"), "{what}: {error}");
                assert!(error.detail.contains(what.split(',').next().unwrap()), "{what}: {error}");
                assert_eq!(seen.outcome.trajectory.points[..], whole.outcome.trajectory.points[..10], "{what}");
                assert_eq!(seen.listener.steps[..], whole.listener.steps[..9], "{what}");
                assert_same_state(&nine, &seen, &what);
                // The checkpoint goes on from there, with another number of steps between looks.
                let mut rest = made(folder.path().to_str().unwrap());
                (rest.train.broken, rest.valid.broken) = (Vec::new(), Vec::new());
                (rest.config.resume, rest.config.log_every) = (true, 3);
                let resumed = rest.run(None);
                assert_eq!(resumed.outcome.trajectory, whole.outcome.trajectory, "{what}");
                assert_same_state(&whole, &resumed, &what);
            }
        }
    }
}

#[test]
fn checkpoints_within_an_epoch_are_looks_of_their_own() {
    let folder = RefCell::new(tempfile::tempdir().unwrap());
    let made = |log_every: usize| {
        *folder.borrow_mut() = tempfile::tempdir().unwrap();
        let path = folder.borrow().path().to_str().unwrap().to_owned();
        search(json!({"log_every": log_every, "checkpoint_every": 4, "checkpoint_dir": path}))
    };
    let always = made(1).run(None);
    // After steps 4, 8, 12 and 16, told before the event of the step, and at the ends of epochs.
    assert_eq!(always.listener.checkpoints, [3, 6, 7, 11, 12, 15, 18]);
    let seldom = made(100).run(None);
    assert_same(&always, &seldom, "checkpoints");
    assert_eq!(seldom.listener.checkpoints, [0, 6, 6, 8, 12, 12, 18]);
}

#[test]
fn a_listener_that_stops_the_search_leaves_a_state_that_agrees_with_its_count() {
    for log_every in [1, 4] {
        let listener = Listener { refuses: Some(5), ..Listener::default() };
        let seen = Search { listener, ..search(json!({"log_every": log_every})) }.run(None);
        let Outcome { state, trajectory, status, .. } = &seen.outcome;
        assert_eq!((*status, seen.listener.steps.len()), (Status::Failed, 5));
        assert_eq!(state.step, 6, "the end of the epoch was looked at");
        assert_eq!(trajectory.steps.last(), Some(&state.step));
    }
}
