//! The operation `noise`: what it draws is a function of the seed, the loss and the edge, and no pass changes it.
#![cfg(feature = "torch")]

use std::collections::HashSet;

use crate::options;
use pydarts::config::Rewrite;
use pydarts::nn::{Noise, Role};
use pydarts::plan::{Geometry, Module, Op, Plan, Scope, Shape};
use pydarts::random;
use pydarts::space::{Edge, Operation, Reads, Space};
use tch::{Device, Kind, Tensor};

const GEOMETRY: Geometry = Geometry { channels: 2, layers: 3, num_classes: 3, in_channels: 2, image_size: (7, 5) };
const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);

fn plan() -> Plan {
    Plan::lower(&Space::preset("s4").unwrap(), &GEOMETRY).unwrap()
}

fn noise(seed: u64) -> Noise {
    Noise::new(&plan(), seed).unwrap()
}

fn place(cell: usize, from: usize, to: usize) -> Scope {
    Scope::edge(Module::Cell(cell), Edge { from, to }, Operation::Noise)
}

/// Numbers in the order in which they are drawn.
fn numbers(drawn: &Tensor) -> Vec<f64> {
    Vec::try_from(drawn.permute([0, 2, 3, 1]).to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

#[test]
fn a_loss_draws_the_normal_numbers_of_its_key_on_any_number_of_threads() {
    let (noise, scope, size) = (noise(7), place(1, 0, 3), [3, 5, 61, 67]);
    let count = size.iter().product::<i64>() as usize;
    let threads = tch::get_num_threads();
    for (role, part, step) in [(Role::Weight, 0, 2), (Role::Alpha, 1, 2), (Role::Alpha, 1, 3)] {
        noise.begin(step);
        noise.begin_loss(role, part);
        tch::set_num_threads(1);
        let drawn = noise.draw(&scope, size, DOUBLE).unwrap();
        tch::set_num_threads(3);
        assert!(noise.draw(&scope, size, DOUBLE).unwrap().equal(&drawn));
        let purpose = format!("noise.{}.{part}.cells.1.edges.0_3.noise", role.name());
        for (drawn, expected) in numbers(&drawn).iter().zip(random::normal(7, &purpose, step, count)) {
            assert!((drawn - expected).abs() < 1e-14 * expected.abs().max(1.0), "{drawn} is not {expected}");
        }
        let single = noise.draw(&scope, size, (Kind::Float, Device::Cpu)).unwrap();
        assert!(single.equal(&drawn.to_kind(Kind::Float)));
        let half = noise.draw(&scope, size, (Kind::BFloat16, Device::Cpu)).unwrap();
        assert!(half.equal(&single.to_kind(Kind::BFloat16)));
    }
    tch::set_num_threads(threads);
}

#[test]
fn the_numbers_are_standard_normal_and_neighbours_are_independent() {
    let numbers = numbers(&noise(0).draw(&place(0, 0, 2), [8, 4, 100, 100], DOUBLE).unwrap());
    let moment = |power: i32| numbers.iter().map(|number| number.powi(power)).sum::<f64>() / numbers.len() as f64;
    for (power, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
        assert!((moment(power) - expected).abs() < 0.05, "moment {power} is {}", moment(power));
    }
    let products = numbers.windows(2).map(|pair| pair[0] * pair[1]).sum::<f64>() / numbers.len() as f64;
    assert!(products.abs() < 0.01, "correlation of neighbours is {products}");
}

#[test]
fn seed_step_role_part_cell_and_edge_each_give_other_numbers() {
    let size = [1, 1, 1, 2];
    let mut seen = HashSet::new();
    let mut is_new = |noise: &Noise, scope: Scope| {
        let drawn = numbers(&noise.draw(&scope, size, DOUBLE).unwrap());
        seen.insert(drawn.iter().map(|number| number.to_bits()).collect::<Vec<_>>())
    };
    for seed in [0, 1] {
        let noise = noise(seed);
        for (cell, from, to) in [(0, 0, 2), (1, 0, 2), (0, 1, 2), (0, 0, 3)] {
            for step in [0, 1] {
                for (role, part) in [(Role::Alpha, 0), (Role::Alpha, 1), (Role::Weight, 0)] {
                    noise.begin(step);
                    noise.begin_loss(role, part);
                    assert!(is_new(&noise, place(cell, from, to)));
                }
                noise.begin_batch(4);
                assert_eq!(is_new(&noise, place(cell, from, to)), step == 0, "an evaluation draws alike in every step");
            }
        }
    }
    let noise = noise(0);
    noise.begin_loss(Role::Alpha, 0);
    noise.begin(0);
    assert!(!is_new(&noise, place(0, 0, 2)), "a step begins with its training loss");
}

#[test]
fn every_edge_keeps_an_instruction_of_its_own_in_every_plan() {
    let plan = plan();
    let places = |plan: &Plan| -> Vec<(String, Shape)> {
        let drawn = plan.instructions.iter().filter(|it| matches!(it.op, Op::Noise { .. }));
        drawn.map(|it| (it.scope.to_string(), it.shape.clone())).collect()
    };
    let lowered = places(&plan);
    assert_eq!(lowered.iter().map(|(name, _)| name).collect::<HashSet<_>>().len(), 3 * 14);
    let shape = |name: &str| &lowered.iter().find(|(other, _)| other == name).unwrap().1.0;
    assert_eq!(shape("cells.0.edges.0_2.noise"), &[2, 7, 5]);
    assert_eq!(shape("cells.1.edges.0_2.noise"), &[4, 4, 3]);
    assert_eq!(shape("cells.1.edges.2_3.noise"), &[4, 4, 3]);
    for rewritten in [
        options::plain(Kind::Double).rewrite(plan.clone()).unwrap(),
        options::plain(Kind::Double).rewrite_by_edge(plan.clone()).unwrap(),
    ] {
        assert!(rewritten.passes.len() >= 3 && !Rewrite::of(Reads::Images).is_empty());
        let mut kept = places(&rewritten);
        kept.sort_by_key(|(name, _)| lowered.iter().position(|(other, _)| other == name));
        assert_eq!(kept, lowered);
    }
    let text = plan.explain();
    assert!(text.contains("noise stride 2") && text.contains("> noise "), "{text}");
}

#[test]
fn noise_has_no_weights_and_costs_nothing() {
    let of = |operations: &str| {
        let space = Space::from_json(&format!(r#"{{"nodes": 2, "operations": {operations}}}"#)).unwrap();
        Plan::lower(&space, &GEOMETRY).unwrap().cost()
    };
    let (noisy, plain) = (of(r#"["noise", "sep_conv_3x3"]"#), of(r#"["none", "sep_conv_3x3"]"#));
    assert_eq!((noisy.weights, noisy.multiply_adds), (plain.weights, plain.multiply_adds));
    assert_eq!(noisy.activation_elements_weight_loss, plain.activation_elements_weight_loss);
    // The gradient of a mixing weight reads the numbers, which are kept as other values are: 5 edges in 3 cells.
    let drawn = 5 * (2 * 35 + 4 * 12 + 8 * 4);
    assert_eq!(noisy.activation_elements_arch_loss, plain.activation_elements_arch_loss + drawn);
}
