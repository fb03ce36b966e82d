//! Micro-batches, batch sizes that fit into memory, and estimates of memory, against plain reimplementations.
#![cfg(feature = "torch")]

use crate::common::Whole;
use crate::options;
use proptest::prelude::*;
use pydarts::config::{Memory, Method};
use pydarts::data::Batch;
use pydarts::nn::{By, Mode, Network, NetworkOptions, Relaxed, Role, Supernet};
use pydarts::params::{initial_alphas, initial_weights};
use pydarts::plan::{Demand, Geometry, Peak, Plan};
use pydarts::random;
use pydarts::search::fitting_batch;
use pydarts::space::Space;
use tch::{Device, Kind, Tensor};

fn plan() -> Plan {
    let space = r#"{"name": "small", "nodes": 2, "operations": ["max_pool_3x3", "skip_connect", "sep_conv_3x3"]}"#;
    let geometry = Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 1, image_size: (8, 8) };
    Plan::lower(&Space::from_json(space).unwrap(), &geometry).unwrap()
}

fn network(micro_batch: Option<usize>) -> Supernet {
    Supernet::new(plan(), NetworkOptions { micro_batch, ..options::plain(Kind::Double) }).unwrap()
}

fn images(count: i64) -> Batch {
    let numbers = random::normal(2, "images", 0, (count * 64) as usize);
    let targets = Tensor::arange(count, (Kind::Int64, Device::Cpu)).remainder(3);
    Batch::new(Tensor::from_slice(&numbers).view([count, 1, 8, 8]), targets)
}

fn apart(a: &Tensor, b: &Tensor) -> f64 {
    ((a - b).norm() / b.norm()).double_value(&[])
}

#[test]
fn micro_batches_average_gradients_and_move_statistics_once() {
    tch::set_num_threads(1);
    // Seven examples, at most three at once: micro-batches of two, two and three.
    let (whole, parted, batch) = (network(None), network(Some(3)), images(7));
    let w = initial_weights(whole.plan(), 1, Kind::Double, Device::Cpu).unwrap();
    let alpha =
        initial_alphas(whole.plan(), pydarts::config::ArchInit::default(), 1, Kind::Double, Device::Cpu).unwrap();
    let parts: Vec<(Batch, f64)> = [(0, 2), (2, 2), (4, 3)]
        .map(|(start, length)| {
            let of = |tensor: &Tensor| tensor.narrow(0, start, length);
            (Batch::new(of(&batch.inputs), of(&batch.targets)), length as f64 / 7.0)
        })
        .into();
    // m = α, so that gradients of α are those of m.
    let relaxation = Whole::identity(&parted);
    let divided = Relaxed { micro_batch: Some(3), ..relaxation.relaxed() };
    let found = divided.gradients(&w, &alpha, &batch, (Mode::Weights, Role::Weight), By::Both).unwrap();
    let (mut loss, mut correct) = (0.0, 0);
    let (mut of_alpha, mut of_w) = (alpha.zeros_like(), w.zeros_like());
    let mut moved: Vec<Tensor> = whole.buffers().unwrap().tensors()[..2].iter().map(|v| v.zeros_like()).collect();
    for (part, share) in &parts {
        let fresh = network(None);
        let one = fresh.gradients(&w, &alpha, part, Mode::Weights, By::Both).unwrap();
        loss += share * one.loss.value.double_value(&[]);
        correct += one.loss.correct.as_ref().unwrap().int64_value(&[]);
        of_alpha += one.alpha().unwrap() * *share;
        of_w += one.w().unwrap() * *share;
        for (sum, one) in moved.iter_mut().zip(fresh.buffers().unwrap().tensors()) {
            *sum += one * *share;
        }
    }
    assert!((found.loss.value.double_value(&[]) - loss).abs() < 1e-12);
    assert_eq!(found.loss.correct.as_ref().unwrap().int64_value(&[]), correct);
    assert!(apart(found.alpha().unwrap(), &of_alpha) < 1e-12);
    assert!(apart(found.w().unwrap(), &of_w) < 1e-12);
    for (ours, theirs) in parted.buffers().unwrap().tensors().into_iter().zip(&moved) {
        assert!(apart(ours, theirs) < 1e-12);
    }
    let whole_batch = whole.gradients(&w, &alpha, &batch, Mode::Search, By::Both).unwrap();
    assert!(apart(whole_batch.w().unwrap(), &of_w) > 1e-3, "batch norm sees a part at a time");

    let direction = w.ones_like();
    let product = divided.hessian_product(&w, &alpha, &direction, &batch).unwrap();
    let of_parts =
        parts.iter().map(|(part, share)| network(None).hessian_product(&w, &alpha, &direction, part).unwrap() * *share);
    assert!(apart(&product, &of_parts.reduce(|sum, one| sum + one).unwrap()) < 1e-12);
}

#[test]
fn a_batch_that_fits_is_not_divided() {
    tch::set_num_threads(1);
    let (whole, parted, batch) = (network(None), network(Some(7)), images(7));
    let w = initial_weights(whole.plan(), 1, Kind::Double, Device::Cpu).unwrap();
    let alpha =
        initial_alphas(whole.plan(), pydarts::config::ArchInit::default(), 1, Kind::Double, Device::Cpu).unwrap();
    let of = |network: &Supernet| {
        let relaxation = Whole::identity(network);
        let divided = Relaxed { micro_batch: Some(7), ..relaxation.relaxed() };
        divided.gradients(&w, &alpha, &batch, (Mode::Weights, Role::Weight), By::Weights).unwrap()
    };
    assert_eq!(of(&whole).w().unwrap(), of(&parted).w().unwrap());
}

fn demand(method: Method, memory: Memory) -> Demand {
    Demand { method, memory, element: 4, weight: 4, kernels_outside: false, heap: false, at_most: None }
}

#[test]
fn estimates_include_recomputation_and_passes_along_a_direction() {
    let plan = Plan::lower(
        &Space::preset("darts").unwrap(),
        &Geometry { channels: 16, layers: 8, num_classes: 10, in_channels: 3, image_size: (32, 32) },
    )
    .unwrap();
    let peak = |method, memory| plan.peak(&demand(method, memory));
    let keep = peak(Method::FirstOrder, Memory::Keep);
    // Most of the peak is the memory that autograd keeps, see `plan.rs`.
    let kept = plan.cost().bytes_per_example(4).0;
    assert!((kept..kept + kept / 20).contains(&keep.per_image), "{keep:?} {kept}");
    assert!(2 * peak(Method::FirstOrder, Memory::Recompute).per_image < keep.per_image);
    assert!(peak(Method::UnrolledExact, Memory::Keep).per_image > keep.per_image);
    assert!(peak(Method::Unrolled, Memory::Keep).fixed > keep.fixed);
    assert_eq!(keep.of(3), 3 * keep.per_image + keep.fixed);
    let parted = Peak { at_most: Some(2), ..keep };
    assert_eq!((parted.of(1), parted.of(3)), (keep.of(1), keep.of(2)));
    // All parts have their masks during the whole step.
    assert_eq!(Peak { masks: 5, ..parted }.of(3), keep.of(2) + 15);
}

proptest! {
    #[test]
    fn the_batch_that_fits_is_the_largest_power_of_two(per_image in 1u64..1000, fixed in 0u64..1000, most in 0usize..600,
                                                       free in 0u64..500_000) {
        let peak = Peak { per_image, masks: 0, fixed, at_most: None };
        let fits = |size: usize| size <= most.min(256) && peak.of(size) as f64 <= 0.8 * free as f64;
        match fitting_batch(peak, most, free) {
            Ok(size) => prop_assert!(size.is_power_of_two() && size >= 2 && fits(size) && !fits(2 * size)),
            Err(error) => {
                prop_assert!(!fits(2));
                prop_assert!(error.detail.contains("no batch fits"), "{}", error);
            }
        }
    }
}
