//! Passes that compute only sampled operations, and whole passes in which the rest is multiplied by 0, against the lowered
//! plan, in float64 over random spaces and random one-hot mixing weights.
#![cfg(feature = "torch")]

use std::cell::LazyCell;

use crate::options;
use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::config::{Memory, SearchConfig};
use pydarts::data::Batch;
use pydarts::nn::{By, Mode, Network, NetworkOptions, Path, Reach, Supernet};
use pydarts::params::{Table, initial_weights};
use pydarts::plan::{Geometry, Plan};
use pydarts::random;
use pydarts::space::Space;
use tch::{Device, Kind, Tensor};

const GEOMETRY: Geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 2, image_size: (8, 8) };

/// What a network of sampled operations computes and moves. Gradients of m are compared where m is not 0.
struct Seen {
    logits: Tensor,
    loss: Tensor,
    evaluated: Tensor,
    of_m: Tensor,
    /// In a pass of its own.
    of_m_alone: Tensor,
    product: Tensor,
    /// By name: gradients of the weights with those of m and in a pass of their own, buffers, and the weights that take part.
    named: [Vec<(String, Tensor)>; 4],
}

impl Seen {
    fn of_name(&self, which: usize, name: &str) -> Tensor {
        self.named[which].iter().find(|it| it.0 == name).unwrap().1.shallow_clone()
    }
}

fn normal(purpose: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(7, purpose, 0, n)).view(shape)
}

/// One-hot rows; every fifth row or so is 0.
fn sampled(plan: &Plan, seed: u64) -> Tensor {
    let mut m = Vec::new();
    for table in &plan.alphas {
        for (row, draw) in random::uniform(seed, &table.name, 0, table.rows.len(), 0.0, 1.2).iter().enumerate() {
            let candidates = table.rows[row].candidates.len();
            let picked = (draw * candidates as f64) as usize;
            m.extend((0..table.columns).map(|column| f64::from(u8::from(column == picked && picked < candidates))));
        }
    }
    Tensor::from_slice(&m)
}

/// `shaken` moves weights and images by so much of themselves.
fn see(plan: &Plan, m: &Tensor, (samples, sparse): (bool, bool), memory: Memory, lowered: bool, shaken: f64) -> Seen {
    tch::set_num_threads(1);
    let passes = lowered.then(Vec::new);
    let options = NetworkOptions { samples, sparse, memory, passes, ..options::plain(Kind::Double) };
    let network = Supernet::new(plan.clone(), options).unwrap();
    let place = |flat: &Tensor| {
        let named = Table::of_weights(plan).unpack(flat).unwrap();
        network.weights().pack(&named, Kind::Double, Device::Cpu).unwrap()
    };
    let shake = |it: Tensor| &it * (normal("shake", &it.size()) * shaken + 1.0);
    let w = place(&shake(initial_weights(plan, 3, Kind::Double, Device::Cpu).unwrap()));
    let direction = place(&normal("direction", &[w.size()[0]]));
    let shape: Vec<i64> = [3].into_iter().chain(plan.example_shape().into_iter().map(|extent| extent as i64)).collect();
    let classes = plan.sizes.images().unwrap().num_classes as i64;
    let batch = Batch::new(shake(normal("images", &shape)), Tensor::from_slice(&[0i64, 1, 1]).remainder(classes));
    let logits = network.logits(&w, m, &batch.inputs, Mode::Search).unwrap();
    let both = network.gradients(&w, m, &batch, Mode::Weights, By::Both).unwrap();
    let alpha = network.gradients(&w, m, &batch, Mode::Search, By::Alpha).unwrap().alpha().unwrap().shallow_clone();
    let weights = network.gradients(&w, m, &batch, Mode::Search, By::Weights).unwrap().w().unwrap().shallow_clone();
    let product = network.hessian_product(&w, m, &direction, &batch).unwrap();
    // A second step from other weights: counts of 0, 1 and 2 in one evaluation.
    let moved = &w + &direction * 0.1;
    let (evaluated, _) = tch::no_grad(|| {
        network.loss(&moved, m, &batch, Mode::Weights).unwrap();
        (network.loss(&w, m, &batch, Mode::Evaluation).unwrap().value, ())
    });
    let sampled = m.ne(0.0).to_kind(Kind::Double);
    let touched = network.touched(m).unwrap().unwrap_or_else(|| w.ones_like().to_kind(Kind::Bool));
    Seen {
        logits,
        loss: both.loss.value.shallow_clone(),
        evaluated,
        of_m: both.alpha().unwrap() * &sampled,
        of_m_alone: alpha * &sampled,
        product: product * &sampled,
        named: [
            network.weights().unpack(both.w().unwrap()).unwrap(),
            network.weights().unpack(&weights).unwrap(),
            network.buffers().unwrap().named().unwrap(),
            network.weights().unpack(&touched.to_kind(Kind::Double)).unwrap(),
        ],
    }
}

/// Whether two values are one but for rounding. Poolings of values that are mostly at their maximum hardly vary, and each
/// batch norm behind them multiplies rounding by up to 1/√ε. So where they differ by more than `tolerance`, the difference may be
/// ten times what the whole plan itself changes when weights and images move by their last bits.
fn near(what: &str, one: &Tensor, other: &Tensor, tolerance: f64, shaken: impl Fn() -> Vec<Tensor>) {
    let other = other.to_kind(Kind::Double);
    let far = |it: &Tensor| (it.to_kind(Kind::Double) - &other).abs().max().double_value(&[]);
    let error = far(one);
    if error > tolerance * other.abs().max().double_value(&[]).max(1.0) {
        let moves = shaken().iter().map(far).fold(0.0, f64::max);
        assert!(error <= 10.0 * moves, "{what} differ by {error:e}; moved by their last bits, by {moves:e}");
    }
}

/// Whether a batch norm belongs to an operation that is not sampled, by its name: `cells.1.edges.0_2.sep_conv_3x3.bn1`.
fn rests(plan: &Plan, m: &Tensor, name: &str) -> bool {
    let parts: Vec<&str> = name.split('.').collect();
    let ["cells", cell, "edges", edge, operation, ..] = parts[..] else { return false };
    let layers = plan.sizes.images().unwrap().layers;
    let published = vec![layers / 3, 2 * layers / 3];
    let reductions = plan.space.network.reductions().unwrap_or(&published);
    let table = usize::from(reductions.contains(&cell.parse().unwrap()));
    let spec = &plan.space.cells[table];
    let row = spec.edges().iter().position(|it| format!("{}_{}", it.from, it.to) == edge).unwrap();
    let column = spec.operations(row).iter().position(|it| it.name() == operation).unwrap();
    let before: usize = plan.alphas[..table].iter().map(|it| it.rows.len() * it.columns).sum();
    m.double_value(&[(before + row * plan.alphas[table].columns + column) as i64]) == 0.0
}

fn compare(plan: &Plan, m: &Tensor, memory: Memory) {
    let plain = see(plan, m, (false, false), memory, true, 0.0);
    let shaken = LazyCell::new(|| {
        let moves = (1..=16).map(|bits| f64::from(bits) * f64::EPSILON);
        moves.map(|by| see(plan, m, (false, false), memory, true, by)).collect::<Vec<_>>()
    });
    let modes =
        [("sparse", (true, true), false), ("sparse, lowered", (true, true), true), ("masked", (true, false), false)];
    for (what, mode, lowered) in modes {
        let seen = see(plan, m, mode, memory, lowered, 0.0);
        let same = |name: &str, tolerance: f64, of: &dyn Fn(&Seen) -> Tensor| {
            let shaken = || shaken.iter().map(of).collect();
            near(&format!("{what}: {name}"), &of(&seen), &of(&plain), tolerance, shaken);
        };
        same("logits", 1e-12, &|it| it.logits.shallow_clone());
        same("losses", 1e-12, &|it| it.loss.shallow_clone());
        same("gradients of m", 1e-10, &|it| it.of_m.shallow_clone());
        same("gradients of m alone", 1e-10, &|it| it.of_m_alone.shallow_clone());
        same("products", 1e-6, &|it| it.product.shallow_clone());
        same("evaluations", 1e-10, &|it| it.evaluated.shallow_clone());
        for (which, of) in ["gradients of ", "gradients alone of ", ""].into_iter().enumerate() {
            for (name, ours) in &seen.named[which] {
                if which == 2 && rests(plan, m, name) {
                    let start = if name.ends_with("running_var") { 1.0 } else { 0.0 };
                    assert!(ours.eq_tensor(&(ours.zeros_like() + start)).all().int64_value(&[]) == 1, "{what}: {name}");
                } else {
                    same(&format!("{of}{name}"), 1e-10, &|it| it.of_name(which, name));
                }
            }
        }
        for (name, touched) in &seen.named[3] {
            let expected = f64::from(u8::from(!rests(plan, m, name)));
            assert!(
                touched.min().double_value(&[]) == expected && touched.max().double_value(&[]) == expected,
                "{name}"
            );
        }
    }
}

fn lowered(name: &str, geometry: &Geometry) -> Plan {
    Plan::lower(&Space::preset(name).unwrap(), geometry).unwrap()
}

#[test]
fn sampled_operations_alone_give_what_the_whole_plan_gives() {
    for (seed, memory) in [(0, Memory::Keep), (1, Memory::Recompute), (2, Memory::Keep)] {
        let plan = lowered("darts", &GEOMETRY);
        compare(&plan, &sampled(&plan, seed), memory);
    }
}

#[test]
fn sequences_and_ragged_spaces_are_sampled_alike() {
    let plan = lowered("darts-1d", &Geometry { image_size: (1, 16), ..GEOMETRY });
    compare(&plan, &sampled(&plan, 3), Memory::Keep);
    let plan = lowered("s1", &GEOMETRY);
    compare(&plan, &sampled(&plan, 4), Memory::Keep);
    let plan = lowered("s4", &GEOMETRY);
    compare(&plan, &sampled(&plan, 5), Memory::Recompute);
}

#[test]
fn cells_without_any_operation_are_zeros() {
    let plan = lowered("darts", &GEOMETRY);
    let m = Tensor::zeros([2 * 14 * 8], (Kind::Double, Device::Cpu));
    compare(&plan, &m, Memory::Keep);
    compare(&plan, &m, Memory::Recompute);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn random_spaces_are_sampled_alike((space, geometry) in prop_oneof![spaces(2, 4, 6..12), ragged(2, 4, 6..12)], seed in 0u64..1000) {
        if let Ok(plan) = Plan::lower(&space, &geometry) {
            compare(&plan, &sampled(&plan, seed), Memory::Keep);
        }
    }
}

/// A step that is captured cannot read which operations were sampled: on a GPU passes are whole, and what rests is masked on
/// the device, as the mode "masked" above does.
#[test]
fn trap_1_2_g_a_step_that_may_be_captured_reads_no_sample_on_the_host() {
    for (relaxation, samples) in [("gdas", true), ("random", true), ("softmax", false), ("gumbel", false)] {
        let config = SearchConfig::from_json(&format!("{{\"relaxation\": \"{relaxation}\"}}")).unwrap();
        for device in [Device::Cpu, Device::Cuda(0)] {
            let numbers = options::plain(Kind::Float).numbers;
            let made = NetworkOptions::of_config(&config, numbers, device, None);
            assert_eq!((made.samples, made.sparse), (samples, samples && device == Device::Cpu));
        }
    }
}

/// A part takes part if one of its paths is open, and a path if none of its mixing weights is 0.
#[test]
fn reach_is_any_of_paths_that_are_all_open() {
    let parts: Vec<Vec<Path>> = vec![vec![], vec![vec![0]], vec![vec![0, 2], vec![3]], vec![vec![]], vec![vec![1, 2]]];
    let lengths = [1, 2, 1, 0, 3];
    let reach = Reach::new(parts.iter().map(Vec::as_slice).zip(lengths), Device::Cpu).unwrap();
    let of = |m: [f64; 4]| {
        let m = Tensor::from_slice(&m);
        let found: Vec<bool> = reach.parts(&m).unwrap().try_into().unwrap();
        let elements: Vec<bool> = reach.elements(&m).unwrap().try_into().unwrap();
        let repeated = found.iter().zip(lengths).flat_map(|(one, length)| vec![*one; length as usize]);
        assert_eq!(elements, repeated.collect::<Vec<_>>());
        found
    };
    assert_eq!(of([1.0, 0.0, 0.0, 0.0]), [true, true, false, true, false]);
    assert_eq!(of([1.0, 0.0, 0.5, 0.0]), [true, true, true, true, false]);
    assert_eq!(of([0.0, -1.0, 2.0, 1.0]), [true, false, true, true, true]);
    assert_eq!(of([0.0; 4]), [true, false, false, true, false]);
}
