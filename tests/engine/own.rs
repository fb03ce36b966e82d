//! Plans with user-defined operations: opaque modules whose weights are entries of the plan.

use pydarts::config::{Rewrite, SearchConfig};
use pydarts::error::{Error, ErrorKind, Result};
use pydarts::plan::{Description, EdgeOptions, Geometry, Makers, Op, OwnSpec, Plan, passes};
use pydarts::space::{Operation, Reads, Space};
use serde_json::json;

/// A module with a kernel per channel and a bias.
struct Scaling;

impl Makers for Scaling {
    fn describe(&self, module: &OwnSpec) -> Result<Description> {
        let channels = module.input.channels();
        if module.operation.name() == "unknown_to_all" {
            return Err(Error::space(format!("{} is not known", module.name)));
        }
        Ok(Description {
            weights: vec![("kernel".to_string(), vec![channels, 1, 3, 3]), ("bias".to_string(), vec![channels])],
            multiply_adds: 9 * module.input.elements(),
            kept: 7,
        })
    }
}

fn space(name: &str) -> Space {
    let operations = json!(["none", "max_pool_3x3", "sep_conv_3x3", name]);
    let text = json!({"name": "mine", "operations": operations, "own_operations": {name: "here:Scaling"}});
    Space::from_json(&text.to_string()).unwrap()
}

fn geometry() -> Geometry {
    Geometry { channels: 4, layers: 3, num_classes: 3, in_channels: 2, image_size: (9, 8) }
}

fn lowered(name: &str) -> Plan {
    Plan::lower_with(&space(name), &geometry(), EdgeOptions::default(), Some(&Scaling)).unwrap()
}

#[test]
fn each_edge_has_a_module_with_weights_of_its_own() {
    let plan = lowered("scaling");
    plan.check().unwrap();
    assert_eq!(plan.own.len(), 3 * 14);
    assert_eq!(plan.own[0].name, "cells.0.edges.0_2.scaling");
    assert_eq!((plan.own[0].table, plan.own[0].stride), ("normal", 1));
    let names: Vec<&str> = plan.weights.iter().map(|weight| weight.name.as_str()).collect();
    assert!(names.contains(&"cells.2.edges.4_5.scaling.kernel") && names.contains(&"cells.0.edges.0_2.scaling.bias"));
    let reducing = plan.own.iter().find(|own| own.stride == 2).unwrap();
    let instruction = plan.instructions.iter().find(|it| it.scope.to_string() == reducing.name).unwrap();
    let (before, after) = (&reducing.input.0, &instruction.shape.0);
    assert_eq!(after, &[before[0], before[1].div_ceil(2), before[2].div_ceil(2)]);
}

#[test]
fn no_pass_touches_a_module() {
    let plan = lowered("scaling");
    let rewritten = passes::rewrite(plan.clone(), Rewrite::of(Reads::Images), usize::MAX).unwrap();
    rewritten.check().unwrap();
    let modules = |plan: &Plan| -> Vec<(String, Vec<String>)> {
        let own = plan.instructions.iter().filter_map(|it| match &it.op {
            Op::Own { weights, .. } => {
                let names = weights.iter().map(|id| plan.weights[id.0].name.clone()).collect();
                Some((it.scope.to_string(), names))
            }
            _ => None,
        });
        own.collect()
    };
    let (before, after) = (modules(&plan), modules(&rewritten));
    assert_eq!(before.len(), 3 * 14);
    assert_eq!(before, after);
    assert_eq!(rewritten.own, plan.own);
}

#[test]
fn the_cost_includes_modules() {
    let plan = lowered("scaling");
    let text = r#"{"name": "mine", "operations": ["none", "max_pool_3x3", "sep_conv_3x3"]}"#;
    let others = Plan::lower(&Space::from_json(text).unwrap(), &geometry());
    let (with, without) = (plan.cost(), others.unwrap().cost());
    let products: u64 = plan.own.iter().map(|own| own.description.multiply_adds).sum();
    let weights: usize = plan.own.iter().map(|own| 10 * own.input.channels()).sum();
    assert_eq!(with.multiply_adds - without.multiply_adds, products);
    assert_eq!(with.weights - without.weights, weights);
    assert!(with.activation_elements_weight_loss >= without.activation_elements_weight_loss + 7 * 3 * 14);
}

#[test]
fn a_plan_needs_what_makes_its_modules() {
    let space = space("lonely");
    let error = Plan::lower(&space, &geometry()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Space);
    assert!(error.detail.contains("lonely"));
    let error = Plan::lower_with(&self::space("unknown_to_all"), &geometry(), EdgeOptions::default(), Some(&Scaling))
        .unwrap_err();
    assert!(error.detail.contains("cells.0.edges.0_2.unknown_to_all"));
}

#[test]
fn names_are_known_once_they_are_declared() {
    assert!(Operation::parse("declared_late").is_err());
    let operation = Operation::own("declared_late").unwrap();
    assert_eq!(Operation::parse("declared_late").unwrap(), operation);
    assert_eq!(operation, Operation::own("declared_late").unwrap());
    assert!(operation.is_own() && operation.is_convolutional() && !operation.is_recurrent());
    for name in ["none", "tanh", "", "1a", "a.b", "a,b", "é"] {
        assert_eq!(Operation::own(name).unwrap_err().kind, ErrorKind::Space);
    }
}

#[test]
fn the_code_of_operations_makes_no_other_configuration() {
    let config = |fact: &str| {
        let space = json!({"name": "mine", "operations": ["none", "hashed"], "own_operations": {"hashed": fact}});
        SearchConfig::from_json(&json!({"space": space}).to_string()).unwrap()
    };
    let (one, other) = (config("a:f 1"), config("a:f 2"));
    assert_ne!(one, other);
    assert!(one.differences(&other).is_empty()); // the fingerprint compares it
    assert_eq!(SearchConfig::from_json(&one.to_json()).unwrap(), one);
}
