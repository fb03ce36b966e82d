//! Searches on several ranks, threads here, against one process with as many micro-batches, and what the others see when
//! one rank fails.
#![cfg(feature = "torch")]

use std::path::Path;
use std::thread;

use crate::capture::Listener;
use crate::meeting::{Meeting, Seat};
use crate::options;
use pydarts::arch::Architecture;
use pydarts::config::{Method, SearchConfig};
use pydarts::data::{ArraySource, Augmentation, Batch, Dataset, Normalization, Role, Source, View};
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::event::Status;
use pydarts::nn::{NetworkOptions, Relaxed, SearchNetwork};
use pydarts::plan::Plan;
use pydarts::random;
use pydarts::ranks::{Collective, Group, Ranks, Share};
use pydarts::search::{self, Fingerprint, Search, Sources, run};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// A search of one process or one rank, in float64.
struct Case<'a> {
    config: SearchConfig,
    ranks: Ranks<'a>,
    micro_batch: Option<usize>,
    listener: Listener,
    /// The number of training batches before the source fails.
    fails_at: Option<usize>,
    /// Whether it then yields a batch that the network cannot read, instead of an error.
    garbles: bool,
}

/// What a search ended with.
#[derive(Debug)]
struct Seen {
    status: Status,
    error: Option<Error>,
    /// α, w, momentum, both moments, and the buffers.
    tensors: Vec<(String, Tensor)>,
    trajectory: Vec<Vec<f64>>,
    history: Vec<[f64; 4]>,
    architecture: Architecture,
    warnings: Vec<String>,
}

/// Ends with an error after some batches, or garbles the next one.
struct Failing(ArraySource, Option<usize>, bool);

impl Source for Failing {
    fn batches(&self) -> Option<usize> {
        self.0.batches()
    }
    fn start(&mut self, index: u64, skip: usize) -> Result<()> {
        self.0.start(index, skip)
    }
    fn next(&mut self) -> Result<Option<Batch>> {
        match &mut self.1 {
            Some(0) if self.2 => {
                let batch = self.0.next()?;
                Ok(batch.map(|batch| Batch { inputs: batch.inputs.repeat([1, 2, 1, 1]), ..batch }))
            }
            Some(0) => Err(Error::data("the source is broken")),
            Some(left) => {
                *left -= 1;
                self.0.next()
            }
            None => self.0.next(),
        }
    }
}

impl Case<'_> {
    fn source(&self, role: Role, examples: i64, batch_size: usize) -> ArraySource {
        let numbers = random::normal(2, &format!("{role:?}"), 0, (examples * 64) as usize);
        let x = Tensor::from_slice(&numbers).view([examples, 1, 8, 8]);
        let y = Tensor::arange(examples, (Kind::Int64, Device::Cpu)).remainder(3);
        let augmentation = Augmentation { crop_and_flip: true, cutout: 2 };
        let share = self.ranks.share();
        let view = View { indices: None, role, batch_size, normalization: Normalization::default(), share };
        let data = Dataset::new(&x, &y).unwrap();
        ArraySource::new(&data, view, augmentation, 4, Kind::Double, Device::Cpu).unwrap()
    }

    fn run(mut self) -> Result<Seen> {
        tch::set_num_threads(1);
        let config = &self.config;
        let plan = Plan::of_config(config, None).unwrap();
        let plain = options::plain(Kind::Double);
        let of_config = NetworkOptions::of_config(config, plain.numbers, Device::Cpu, None);
        let options = NetworkOptions { micro_batch: self.micro_batch, share: self.ranks.share(), ..of_config };
        let (network, relaxations, initial) = search::start(plan, config, options)?;
        let network: &SearchNetwork = &network;
        let size = config.data.batch_size.examples();
        let (train, mut valid) =
            (self.source(Role::Train, 5 * size as i64 + 1, size), self.source(Role::Valid, 4 * size as i64, size));
        let mut train = Failing(train, self.fails_at, self.garbles);
        let mut evaluation = self.source(Role::Evaluation, 19, 8);
        let sources = Sources { train: &mut train, valid: &mut valid, evaluation: &mut evaluation };
        let relaxed = Relaxed {
            network: &**network,
            relaxations: &relaxations,
            micro_batch: self.micro_batch,
            ranks: self.ranks,
        };
        let outcome = run(relaxed, Search::new(config, &Fingerprint::default()), initial, sources, &mut self.listener)?;
        let state = &outcome.state;
        let named = [
            ("alpha", &state.alpha),
            ("w", &state.w),
            ("momentum", &state.momentum),
            ("exp_avg", &state.moments.exp_avg),
            ("exp_avg_sq", &state.moments.exp_avg_sq),
        ];
        let mut tensors: Vec<_> = named.into_iter().map(|(name, one)| (name.to_owned(), one.copy())).collect();
        tensors.extend(network.buffers().unwrap().named().unwrap());
        let numbers = |record: &pydarts::event::EpochRecord| {
            let accuracies = [record.train_accuracy, record.valid_accuracy].map(|accuracy| accuracy.unwrap_or(-1.0));
            [record.train_loss, record.valid_loss, accuracies[0], accuracies[1]]
        };
        Ok(Seen {
            status: outcome.status,
            error: outcome.error,
            tensors,
            trajectory: outcome.trajectory.points,
            history: outcome.history.iter().map(numbers).collect(),
            architecture: outcome.architecture,
            warnings: self.listener.warnings,
        })
    }
}

fn config(changes: Value) -> SearchConfig {
    let mut object = json!({
        "channels": 2, "layers": 3, "nodes": 2, "operations": ["none", "skip_connect", "max_pool_3x3", "sep_conv_3x3"],
        "num_classes": 3, "in_channels": 1, "image_size": 8, "epochs": 2, "weight_lr": 0.1, "arch_lr": 0.01,
        "batch_size": 16, "record": "step", "seed": 3,
    });
    object.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    SearchConfig::from_json(&object.to_string()).unwrap()
}

fn alone(changes: &Value, micro_batch: Option<usize>) -> Seen {
    let case = Case {
        config: config(changes.clone()),
        ranks: Ranks::ALONE,
        micro_batch,
        listener: Listener::default(),
        fails_at: None,
        garbles: false,
    };
    case.run().unwrap()
}

/// A search on some ranks; `prepare` changes the case of a rank.
fn together(changes: &Value, meeting: &Meeting, prepare: impl Fn(usize, &mut Case) + Sync) -> Vec<Result<Seen>> {
    thread::scope(|scope| {
        let one = |rank: usize| {
            let prepare = &prepare;
            scope.spawn(move || {
                let seat = Seat(meeting, rank);
                let group = Group::new(&seat, Device::Cpu);
                let mut case = Case {
                    config: config(changes.clone()),
                    ranks: Ranks::of(&group),
                    micro_batch: None,
                    listener: Listener::default(),
                    fails_at: None,
                    garbles: false,
                };
                prepare(rank, &mut case);
                let seen = case.run();
                if let Err(error) = &seen {
                    seat.leave(error);
                }
                seen
            })
        };
        let threads: Vec<_> = (0..meeting.ranks).map(one).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn near(what: &str, one: &Tensor, other: &Tensor) {
    let (one, other) = (one.to_kind(Kind::Double), other.to_kind(Kind::Double));
    let scale = other.abs().max().double_value(&[]).max(1.0);
    let error = (one - other).abs().max().double_value(&[]);
    assert!(error <= 1e-12 * scale, "{what} differ by {error:e}");
}

fn assert_near(what: &str, one: &Seen, other: &Seen) {
    for ((name, one), (_, other)) in one.tensors.iter().zip(&other.tensors) {
        near(&format!("{what}: {name}"), one, other);
    }
    assert_eq!((one.tensors.len(), one.trajectory.len()), (other.tensors.len(), other.trajectory.len()), "{what}");
    for (one, other) in one.history.iter().zip(&other.history) {
        near(&format!("{what}: history"), &Tensor::from_slice(one), &Tensor::from_slice(other));
    }
    assert_eq!((one.status, &one.architecture), (other.status, &other.architecture), "{what}");
}

fn assert_equal(what: &str, all: &[Seen]) {
    for (rank, seen) in all.iter().enumerate() {
        for ((name, one), (_, other)) in seen.tensors.iter().zip(&all[0].tensors) {
            assert!(one.equal(other), "{what}: {name} of rank {rank}");
        }
        assert_eq!((&seen.trajectory, &seen.history), (&all[0].trajectory, &all[0].history), "{what}");
        assert_eq!((seen.status, &seen.architecture), (all[0].status, &all[0].architecture), "{what}");
    }
}

/// Numbers of ranks, batch sizes, and the largest micro-batch that divides a batch in the same way: into equal parts and
/// others.
const CASES: [(usize, usize, usize); 4] = [(2, 16, 8), (4, 11, 3), (4, 16, 4), (2, 11, 6)];

/// Ranks take the ten steps of one process with as many micro-batches.
fn assert_equal_micro_batches(changes: &Value, cases: &[(usize, usize, usize)]) {
    for &(ranks, batch, most) in cases {
        let mut changes = changes.clone();
        changes["batch_size"] = json!(batch);
        let what = format!("{changes} on {ranks} ranks");
        let seen = together(&changes, &Meeting::new(ranks), |_, _| {});
        let seen: Vec<Seen> = seen.into_iter().collect::<Result<_>>().unwrap();
        assert_eq!((seen[0].status, seen[0].trajectory.len()), (Status::Complete, 11), "{:?}", seen[0].error);
        assert_equal(&what, &seen);
        assert_near(&what, &seen[0], &alone(&changes, Some(most)));
    }
}

#[test]
fn ranks_equal_micro_batches_by_every_hypergradient() {
    use Method::{ConjugateGradient, FirstOrder, MixedLevel, Neumann, SingleLevel, T1T2, Unrolled, UnrolledExact};
    for method in [FirstOrder, Unrolled, UnrolledExact, SingleLevel, T1T2, Neumann, ConjugateGradient, MixedLevel] {
        assert_equal_micro_batches(&json!({"hypergradient": method, "relaxation": "gumbel"}), &CASES[1..2]);
    }
}

#[test]
fn ranks_equal_micro_batches_with_every_relaxation() {
    assert_equal_micro_batches(&json!({"drop_path": 0.2, "skip_dropout": 0.3}), &CASES);
    for relaxation in ["gdas", "dirichlet", "sigmoid", "random"] {
        assert_equal_micro_batches(&json!({"relaxation": relaxation}), &CASES[1..2]);
    }
    for perturbation in ["uniform", "adversarial"] {
        let perturbation = json!({"name": perturbation, "epsilon": 0.1});
        assert_equal_micro_batches(&json!({"perturbation": perturbation}), &CASES[1..2]);
    }
}

#[test]
fn ranks_equal_micro_batches_with_samples_curvature_and_probes() {
    let sampled = json!({"name": "sampled", "samples": 6, "batches": 2, "finalists": 2, "epoch_samples": 3});
    let changes = json!({"relaxation": "gumbel", "selection": sampled, "curvature_every": 2, "probe_every": 4,
        "partial_channels": 2, "log_every": 3});
    assert_equal_micro_batches(&changes, &CASES[1..2]);
}

#[test]
fn ranks_may_have_micro_batches_of_their_own() {
    let changes = json!({"relaxation": "gumbel"});
    let seen = together(&changes, &Meeting::new(2), |_, case| case.micro_batch = Some(4));
    let seen: Vec<Seen> = seen.into_iter().collect::<Result<_>>().unwrap();
    assert_near("two ranks with two micro-batches each", &seen[0], &alone(&changes, Some(4)));
}

#[test]
fn a_step_sums_what_the_plan_says() {
    let one_epoch = |epochs: usize| {
        let meeting = Meeting::new(2);
        let seen = together(&json!({"epochs": epochs}), &meeting, |_, _| {});
        (meeting.elements(), seen.into_iter().next().unwrap().unwrap())
    };
    let ((one, seen), (two, _)) = (one_epoch(1), one_epoch(2));
    let size = |name: &str| seen.tensors.iter().find(|(own, _)| own == name).unwrap().1.numel();
    let ending = |suffix: &str| -> usize {
        seen.tensors.iter().filter(|(name, _)| name.ends_with(suffix)).map(|(_, tensor)| tensor.numel()).sum()
    };
    let (statistics, counts) = (ending("running_mean") + ending("running_var"), ending("num_batches_tracked"));
    let (w, alpha) = (size("w"), size("alpha"));
    // Loss and correct predictions come with each; counts are gathered.
    let step = 2 * 7 + (2 + alpha) + (2 + w + statistics) + 2 * counts;
    // Equal states, the agreements after and the numbers of an evaluation, and two at the end of the pass.
    let epoch = 2 * w + 3 * alpha + statistics + counts + 2 * 2 * 7 + 4 + 2 * 2 * 7;
    assert_eq!(two - one, 5 * step + epoch);
}

#[test]
fn a_failing_rank_ends_all_with_the_same_partial_result() {
    let interrupted = |case: &mut Case| case.listener.interrupts_at = Some(4);
    let broken = |case: &mut Case| case.fails_at = Some(3);
    for failing in 0..3 {
        for (interrupts, fail) in [(true, &interrupted as &(dyn Fn(&mut Case) + Sync)), (false, &broken)] {
            let seen = together(&json!({}), &Meeting::new(3), |rank, case| {
                if rank == failing {
                    fail(case);
                }
            });
            let seen: Vec<Seen> = seen.into_iter().collect::<Result<_>>().unwrap();
            assert_equal("a failure", &seen);
            let expected = if interrupts { Status::Interrupted } else { Status::Failed };
            assert_eq!((seen[0].status, seen[0].trajectory.len()), (expected, 4));
            for (rank, seen) in seen.iter().enumerate() {
                let error = seen.error.as_ref().map(|error| (error.kind, error.detail.as_str()));
                match (interrupts, rank == failing) {
                    (true, _) => assert_eq!(error, None),
                    (false, true) => assert_eq!(error, Some((ErrorKind::Data, "the source is broken"))),
                    (false, false) => {
                        let (kind, detail) = error.unwrap();
                        assert_eq!(kind, ErrorKind::Ranks);
                        assert!(detail.contains(&format!("rank {failing}")) && detail.contains("broken"), "{detail}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_step_that_fails_on_one_rank_ends_all_and_keeps_its_error() {
    let sampled = json!({"name": "sampled", "samples": 4, "batches": 1, "finalists": 2, "epoch_samples": 2});
    for failing in 0..2 {
        let seen = together(&json!({"selection": sampled}), &Meeting::new(2), |rank, case| {
            case.fails_at = Some(3).filter(|_| rank == failing);
            case.garbles = true;
        });
        let seen: Vec<Seen> = seen.into_iter().collect::<Result<_>>().unwrap();
        for (rank, one) in seen.iter().enumerate() {
            let error = one.error.as_ref().unwrap();
            assert_eq!((one.status, one.trajectory.len()), (Status::Failed, 4));
            assert_eq!(error.kind == ErrorKind::Ranks, rank != failing, "{error}");
            // The search network could still be asked for an architecture.
            assert!(!one.architecture.tables.is_empty());
        }
        assert_eq!(seen[0].trajectory, seen[1].trajectory);
    }
}

#[test]
fn an_observer_that_fails_late_ends_all_at_the_same_step() {
    // Reports are read at the end of the pass only.
    let seen = together(&json!({"log_every": 9}), &Meeting::new(3), |rank, case| {
        case.listener.refuses = Some(2).filter(|_| rank == 0);
    });
    let seen: Vec<Seen> = seen.into_iter().collect::<Result<_>>().unwrap();
    assert_equal("an observer", &seen);
    assert_eq!((seen[0].status, seen[0].trajectory.len()), (Status::Failed, 6));
    let kinds: Vec<ErrorKind> = seen.iter().map(|one| one.error.as_ref().unwrap().kind).collect();
    assert_eq!(kinds, [ErrorKind::Foreign, ErrorKind::Ranks, ErrorKind::Ranks]);
}

#[test]
fn ranks_with_one_example_are_refused_before_the_step() {
    let seen = together(&json!({"batch_size": 7}), &Meeting::new(4), |_, _| {});
    for seen in seen {
        let seen = seen.unwrap();
        let error = seen.error.unwrap();
        assert_eq!((seen.status, error.kind, seen.trajectory.len()), (Status::Failed, ErrorKind::Data, 1));
        assert!(error.detail.contains("rank 0") && error.detail.contains("1 example"), "{error}");
    }
}

/// Steps until `epochs`, with checkpoints in a folder.
fn with_folder(folder: &Path, epochs: usize, ranks: usize, resume: bool) -> Vec<Seen> {
    let changes = json!({"epochs": epochs, "checkpoint_dir": folder, "resume": resume, "relaxation": "gumbel"});
    together(&changes, &Meeting::new(ranks), |_, _| {}).into_iter().collect::<Result<_>>().unwrap()
}

#[test]
fn a_resumed_search_on_as_many_ranks_equals_the_whole_one() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = with_folder(whole.path(), 3, 2, false);
    let made = |epochs: usize| {
        json!({"epochs": epochs, "checkpoint_dir": parts.path(), "resume": true,
        "relaxation": "gumbel"})
    };
    // Interrupted in the second epoch.
    let first = together(&made(3), &Meeting::new(2), |rank, case| {
        case.listener.interrupts_at = (rank == 1).then_some(9);
    });
    for seen in first {
        assert_eq!(seen.unwrap().status, Status::Interrupted);
    }
    let resumed = with_folder(parts.path(), 3, 2, true);
    for (one, other) in resumed.iter().zip(&expected) {
        assert!(one.warnings.is_empty(), "{:?}", one.warnings);
        assert_equal("resumed", std::slice::from_ref(one));
        for ((name, one), (_, other)) in one.tensors.iter().zip(&other.tensors) {
            assert!(one.equal(other), "{name}");
        }
        assert_eq!(one.trajectory, other.trajectory);
    }
    let fewer = with_folder(parts.path(), 4, 3, true);
    assert!(fewer[0].warnings.iter().any(|warning| warning.contains("2 ranks")), "{:?}", fewer[0].warnings);
    assert_eq!(fewer[2].status, Status::Complete);
}

#[test]
fn shares_cover_everything_once() {
    for (n, ranks) in [(16, 4), (11, 4), (3, 5), (1, 1)] {
        let ranges: Vec<_> = (0..ranks).map(|rank| Share { rank, ranks }.range(n)).collect();
        assert_eq!(ranges.iter().map(|(_, count)| count).sum::<i64>(), n);
        assert!(ranges.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
    }
}
