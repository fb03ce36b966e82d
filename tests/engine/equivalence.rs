//! Every pass, alone and in every combination, against the lowered plan, in float64 over random spaces.
#![cfg(feature = "torch")]

use crate::options;
use crate::spaces::{ragged, spaces};
use proptest::prelude::*;
use pydarts::config::{Memory, Rewrite};
use pydarts::data::Batch;
use pydarts::nn::{Along, By, Division, DropOptions, Gradients, Mode, Network, NetworkOptions, Parts, Supernet};
use pydarts::params::{Table, initial_weights};
use pydarts::plan::{EdgeOptions, Geometry, Module, Op, Plan};
use pydarts::random;
use pydarts::schedule::Schedule;
use pydarts::space::{Reads, Space};
use tch::{Device, Kind, Tensor};

/// The passes over convolutional plans.
fn all() -> &'static [Rewrite] {
    Rewrite::of(Reads::Images)
}

/// The values in which two networks must agree.
struct Seen {
    logits: Tensor,
    of_alpha: Tensor,
    of_weights: Vec<(String, Tensor)>,
    statistics: Vec<(String, Tensor)>,
    /// Gradients by m and w of the derivative along a direction of w, of m, and of both, by the network itself and by
    /// double backward.
    products: Vec<(Tensor, Tensor)>,
}

fn draw(purpose: &str, shape: &[i64]) -> Tensor {
    let n = shape.iter().product::<i64>() as usize;
    Tensor::from_slice(&random::normal(7, purpose, 0, n)).view(shape)
}

fn see(plan: &Plan, passes: Vec<Rewrite>) -> Seen {
    see_in(plan, passes, Memory::Keep)
}

fn see_in(plan: &Plan, passes: Vec<Rewrite>, memory: Memory) -> Seen {
    // The tests run in parallel, and teams of threads that spin for one core block each other.
    tch::set_num_threads(1);
    let drop = DropOptions { probabilities: [Schedule::Constant(0.3), Schedule::Constant(0.4)], seed: 1 };
    let options = NetworkOptions { passes: Some(passes), memory, drop, ..options::plain(Kind::Double) };
    let network = Supernet::new(plan.clone(), options).unwrap();
    // Weights by name, because passes change their order.
    let drawn = initial_weights(plan, 3, Kind::Double, Device::Cpu).unwrap();
    let named = Table::of_weights(plan).unpack(&drawn).unwrap();
    let w = network.weights().pack(&named, Kind::Double, Device::Cpu).unwrap().set_requires_grad(true);
    let alpha = draw("alpha", &[network.mixing().total()]).set_requires_grad(true);
    let Geometry { num_classes, .. } = *plan.sizes.images().unwrap();
    let shape: Vec<i64> = [3].into_iter().chain(plan.example_shape().into_iter().map(|extent| extent as i64)).collect();
    let inputs = draw("images", &shape);
    let targets = Tensor::from_slice(&[0i64, 1, 1]).remainder(num_classes as i64);
    let batch = Batch::new(inputs, targets);
    network.draw(5, &Parts([Division::default(), Division { sizes: vec![3], own: 0..1 }])).unwrap();
    let logits = network.logits(&w, &alpha, &batch.inputs, Mode::Search).unwrap();
    let gradients = network.gradients(&w, &alpha, &batch, Mode::Weights, By::Both).unwrap();
    for by in [By::Alpha, By::Weights] {
        let alone = network.gradients(&w, &alpha, &batch, Mode::Search, by).unwrap();
        let of = |found: &Gradients| if by.alpha() { found.alpha() } else { found.w() }.unwrap().copy();
        assert!(apart(&of(&alone), &of(&gradients)) < 1e-12, "{by:?} alone differs from both");
    }
    let direction = Table::of_weights(plan).unpack(&draw("direction", &[w.size()[0]])).unwrap();
    let direction = network.weights().pack(&direction, Kind::Double, Device::Cpu).unwrap();
    // A direction of α's tables: the constants after them never move.
    let constants = network.mixing().total() - network.alphas().total();
    let mixing = draw("mixing", &[network.alphas().total()]).constant_pad_nd([0, constants]);
    let ordered = |vector: &Tensor| {
        let mut named = network.weights().unpack(vector).unwrap();
        named.sort_by(|one, other| one.0.cmp(&other.0));
        flat(&by_name(&named))
    };
    let loss = network.loss(&w, &alpha, &batch, Mode::Search).unwrap().value;
    let first = Tensor::run_backward(&[loss], &[&w, &alpha], true, true);
    let terms = [first[0].dot(&direction), first[1].dot(&mixing)];
    let both = &terms[0] + &terms[1];
    let along = Along { w: Some(&direction), m: Some(&mixing), ..Along::default() };
    let cases = [
        (Along::weights(&direction), &terms[0], By::Alpha),
        (Along::mixing(&mixing), &terms[1], By::Weights),
        (along, &both, By::Both),
    ];
    let mut products = Vec::new();
    for (along, derivative, by) in cases {
        let found = network.gradients_along(&w, &alpha, along, &batch, by).unwrap();
        let off = apart(&found.loss.value, &derivative.detach());
        assert!(off < 1e-9, "{by:?}: the derivative is off by {off:e}");
        let twice = Tensor::run_backward(&[derivative], &[&w, &alpha], true, false);
        if by.alpha() {
            products.push((found.alpha().unwrap().copy(), twice[1].copy()));
        }
        if by.weights() {
            products.push((ordered(found.w().unwrap()), ordered(&twice[0])));
        }
    }
    Seen {
        products,
        logits: logits.detach(),
        of_alpha: gradients.alpha().unwrap().copy(),
        of_weights: network.weights().unpack(gradients.w().unwrap()).unwrap(),
        statistics: network.buffers().unwrap().named().unwrap(),
    }
}

/// ‖a − b‖ / ‖b‖, or ‖a‖ if b is zero.
fn apart(a: &Tensor, b: &Tensor) -> f64 {
    // Counts of steps are integers, of which libtorch computes no norm.
    let (a, b) = (a.to_kind(Kind::Double), b.to_kind(Kind::Double));
    let norm = b.norm().double_value(&[]);
    (a - b).norm().double_value(&[]) / if norm == 0.0 { 1.0 } else { norm }
}

fn flat(named: &[(&str, &Tensor)]) -> Tensor {
    Tensor::cat(&named.iter().map(|(_, t)| t.flatten(0, -1)).collect::<Vec<_>>(), 0)
}

fn by_name(named: &[(String, Tensor)]) -> Vec<(&str, &Tensor)> {
    let mut named: Vec<_> = named.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    named.sort_by(|a, b| a.0.cmp(b.0));
    named
}

fn compare(plain: &Seen, plan: &Plan, passes: &[Rewrite]) {
    agree(plain, see(plan, passes.to_vec()), passes);
}

fn agree(plain: &Seen, rewritten: Seen, passes: &[Rewrite]) {
    let close = |what: &str, a: &Tensor, b: &Tensor, tolerance: f64| {
        let error = apart(a, b);
        assert!(error < tolerance, "{passes:?}: {what} differ by {error:e}");
    };
    close("logits", &rewritten.logits, &plain.logits, 1e-11);
    // A variance near zero multiplies rounding by up to 1/√ε in each derivative of a batch norm: by 3e7 in the third.
    for (number, (ours, theirs)) in rewritten.products.iter().zip(&plain.products).enumerate() {
        close(&format!("forward and backward over backward, product {number}"), &ours.0, &ours.1, 1e-6);
        close(&format!("Hessian-vector products, {number}"), &ours.0, &theirs.1, 1e-6);
    }
    close("gradients of α", &rewritten.of_alpha, &plain.of_alpha, 1e-9);
    let (ours, theirs) = (by_name(&rewritten.of_weights), by_name(&plain.of_weights));
    // Relative to the whole gradient: the gradient of a weight before a batch norm can be rounding error only.
    close("gradients of the weights", &flat(&ours), &flat(&theirs), 1e-9);
    assert!(ours.iter().zip(&theirs).all(|(one, other)| one.0 == other.0 && one.1.size() == other.1.size()));
    let (ours, theirs) = (by_name(&rewritten.statistics), by_name(&plain.statistics));
    for ((name, one), (other_name, other)) in ours.iter().zip(&theirs) {
        assert_eq!(name, other_name);
        // The mean of centred values is rounding error only, so compare the absolute difference.
        let error = (*one - *other).to_kind(Kind::Double).norm().double_value(&[]);
        assert!(error < 1e-10, "{passes:?}: {name} differ by {error:e}");
    }
}

/// All subsets of the passes.
fn subsets() -> Vec<Vec<Rewrite>> {
    let all = all();
    let chosen = |bits: usize| all.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, r)| *r).collect();
    (0..1usize << all.len()).map(chosen).collect()
}

// Two tests, so that two threads share the combinations.
#[test]
#[ignore = "takes a minute: make test-long"]
fn every_combination_of_passes_with_phases_computes_what_the_lowered_plan_computes() {
    combinations(|passes| passes.contains(&Rewrite::SpaceToBatch));
}

#[test]
#[ignore = "takes a minute: make test-long"]
fn every_combination_of_passes_without_phases_computes_what_the_lowered_plan_computes() {
    combinations(|passes| !passes.contains(&Rewrite::SpaceToBatch));
}

const GEOMETRY: Geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 2, image_size: (8, 8) };

/// With the published operations and half of the nodes: the whole space takes three times as long.
fn combinations(chosen: impl Fn(&[Rewrite]) -> bool) {
    let space = Space::from_json(r#"{"nodes": 2}"#).unwrap();
    assert_eq!(space.all_operations(), Space::default().all_operations());
    let plan = Plan::lower(&space, &GEOMETRY).unwrap();
    let plain = see(&plan, vec![]);
    for passes in subsets().into_iter().filter(|passes| chosen(passes)) {
        compare(&plain, &plan, &passes);
    }
}

#[test]
fn each_pass_and_all_together_compute_what_the_published_plan_computes() {
    let plan = Plan::lower(&Space::preset("darts").unwrap(), &GEOMETRY).unwrap();
    let plain = see(&plan, vec![]);
    for pass in all() {
        compare(&plain, &plan, &[*pass]);
    }
    compare(&plain, &plan, all());
}

#[test]
fn each_pass_and_all_together_compute_what_the_plans_of_s1_to_s4_compute() {
    for name in ["s1", "s2", "s3", "s4"] {
        let plan = Plan::lower(&Space::preset(name).unwrap(), &GEOMETRY).unwrap();
        let plain = see(&plan, vec![]);
        for pass in all() {
            compare(&plain, &plan, &[*pass]);
        }
        compare(&plain, &plan, all());
    }
}

#[test]
fn large_images_whose_edges_are_grouped_after_a_reduction_compute_the_same() {
    let geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 2, image_size: (20, 20) };
    let plan = Plan::lower(&Space::preset("darts").unwrap(), &geometry).unwrap();
    let rewritten = options::plain(Kind::Double).rewrite(plan.clone()).unwrap();
    let grouped = |cell: usize| {
        let here = rewritten.instructions.iter().filter(|it| it.scope.module == Module::Cell(cell));
        here.filter(|it| matches!(it.op, Op::Repeat { .. })).count()
    };
    assert!(grouped(0) == 0 && grouped(2) > 0);
    compare(&see(&plan, vec![]), &plan, all());
}

/// Drop path alone, skip dropout alone, both, and both with every other option of edges.
fn drops() -> [EdgeOptions; 4] {
    let plain = EdgeOptions::default();
    let both = EdgeOptions { drop_path: true, skip_dropout: true, ..plain };
    let all = EdgeOptions { partial_channels: 2, edge_normalization: true, auxiliary_skip: true, ..both };
    [EdgeOptions { drop_path: true, ..plain }, EdgeOptions { skip_dropout: true, ..plain }, both, all]
}

#[test]
#[ignore = "takes a minute: make test-long"]
fn each_pass_and_all_together_drop_what_the_lowered_plan_drops() {
    for edges in drops() {
        let plan = Plan::lower_with(&Space::preset("darts").unwrap(), &GEOMETRY, edges, None).unwrap();
        let plain = see(&plan, vec![]);
        for pass in all() {
            compare(&plain, &plan, &[*pass]);
        }
        compare(&plain, &plan, all());
        agree(&plain, see_in(&plan, all().to_vec(), Memory::Recompute), all());
    }
}

#[test]
fn recomputed_cells_give_the_same_gradients_and_move_statistics_once() {
    let geometry = Geometry { channels: 2, layers: 5, num_classes: 3, in_channels: 2, image_size: (8, 8) };
    let plan = Plan::lower(&Space::preset("darts").unwrap(), &geometry).unwrap();
    for passes in [&[][..], all()] {
        let (kept, again) = (see(&plan, passes.to_vec()), see_in(&plan, passes.to_vec(), Memory::Recompute));
        for (one, other) in kept.statistics.iter().zip(&again.statistics) {
            assert!(one.0 == other.0 && one.1.equal(&other.1), "{}", one.0);
        }
        agree(&kept, again, passes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn any_space_computes_the_same_with_any_passes(
        (space, geometry) in spaces(3, 5, 5..13),
        which in prop::sample::subsequence(all().to_vec(), 1..=all().len()),
    ) {
        let Ok(plan) = Plan::lower(&space, &geometry) else { return Ok(()) };
        let plain = see(&plan, vec![]);
        compare(&plain, &plan, &which);
        agree(&plain, see_in(&plan, which.clone(), Memory::Recompute), &which);
    }

    #[test]
    fn any_space_of_different_edges_computes_the_same_with_any_passes(
        (space, geometry) in ragged(3, 5, 5..13),
        which in prop::sample::subsequence(all().to_vec(), 1..=all().len()),
    ) {
        let Ok(plan) = Plan::lower(&space, &geometry) else { return Ok(()) };
        let plain = see(&plan, vec![]);
        compare(&plain, &plan, &which);
        compare(&plain, &plan, all());
    }

    #[test]
    fn any_space_drops_the_same_with_any_passes(
        (space, geometry) in ragged(3, 5, 5..13),
        which in prop::sample::subsequence(all().to_vec(), 1..=all().len()),
        dropped in 0..drops().len(),
    ) {
        let Ok(plan) = Plan::lower_with(&space, &geometry, drops()[dropped], None) else { return Ok(()) };
        let plain = see(&plan, vec![]);
        compare(&plain, &plan, &which);
        agree(&plain, see_in(&plan, which.clone(), Memory::Recompute), &which);
    }
}
