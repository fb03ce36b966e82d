//! Derivation: against a plain restatement of the rule on thousands of random α full of ties.

use ndarray::{Array1, Array2, array};
use proptest::prelude::*;
use pydarts::arch::genotype::{Cell, Genotype};
use pydarts::arch::{Selection, entropy_of, softmax};
use pydarts::error::{ErrorKind, Result};
use pydarts::relaxation::{self, Relaxation};
use pydarts::schedule::Schedule;
use pydarts::space::{Operation, Space};
use serde_json::json;

/// The genotype of the published rule, with the space's number of edges per node or another one.
fn derive(space: &Space, alphas: &[(String, Array2<f64>)], k: Option<usize>) -> Result<Genotype> {
    let selection = Selection::default().with("k", Schedule::Constant(k.unwrap_or(0) as f64));
    relaxation::derive(space, alphas, &Relaxation::default(), &selection)
}

/// The rule once more, as directly as it can be said: for each node, k times, take of the edges left the one whose
/// best operation weighs most, the lowest among equals; and of an edge the lowest column among equals.
fn restated(space: &Space, table: &Array2<f64>, k: usize) -> Vec<(String, usize)> {
    let weight = |row: usize, column: usize| -> f64 {
        let columns = 0..table.ncols();
        let mut largest = table[[row, 0]];
        for other in columns.clone() {
            if table[[row, other]] > largest {
                largest = table[[row, other]];
            }
        }
        let mut sum = 0.0;
        for other in columns {
            sum += (table[[row, other]] - largest).exp();
        }
        (table[[row, column]] - largest).exp() / sum
    };
    let mut genes = Vec::new();
    let mut first_row = 0;
    for node in space.inputs()..space.inputs() + space.nodes() {
        let mut taken = vec![false; node];
        for _ in 0..k.min(node) {
            let mut best: Option<(f64, usize, usize)> = None;
            for from in (0..node).filter(|from| !taken[*from]) {
                for (column, operation) in space.uniform_operations().unwrap().iter().enumerate() {
                    let weight = weight(first_row + from, column);
                    if *operation != Operation::None && best.is_none_or(|(heaviest, ..)| weight > heaviest) {
                        best = Some((weight, from, column));
                    }
                }
            }
            let (_, from, column) = best.unwrap();
            taken[from] = true;
            genes.push((space.uniform_operations().unwrap()[column].name().to_string(), from));
        }
        first_row += node;
    }
    genes
}

fn plain(cell: &Cell) -> Vec<(String, usize)> {
    cell.edges().map(|edge| (edge.operation.name().to_string(), edge.source)).collect()
}

/// Numbers from a small set, so that ties are everywhere, or from the whole line.
fn logits() -> impl Strategy<Value = f64> {
    prop_oneof![4 => prop::sample::select(vec![-1.0, 0.0, 0.5, 1.0]), 1 => -1e3f64..1e3]
}

fn table(rows: usize, columns: usize) -> impl Strategy<Value = Array2<f64>> {
    prop::collection::vec(logits(), rows * columns)
        .prop_map(move |numbers| Array2::from_shape_vec((rows, columns), numbers).unwrap())
}

fn cases() -> impl Strategy<Value = (Space, Array2<f64>, Array2<f64>, usize)> {
    (1usize..6, 1u32..256, 1usize..5).prop_flat_map(|(nodes, mask, k)| {
        let all = Space::default().all_operations();
        let chosen = |(index, operation): (usize, &Operation)| (mask & (1 << index) != 0).then_some(*operation);
        let mut operations: Vec<Operation> = all.iter().enumerate().filter_map(chosen).collect();
        if operations == [Operation::None] {
            operations.push(Operation::Conv3x3);
        }
        let space = Space::from_json(&json!({"operations": operations, "nodes": nodes}).to_string()).unwrap();
        let (rows, columns) = (space.edges().len(), operations.len());
        (Just(space), table(rows, columns), table(rows, columns), Just(k))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn derivation_is_the_rule((space, normal, reduce, k) in cases()) {
        let alphas = [("reduce".to_string(), reduce.clone()), ("normal".to_string(), normal.clone())];
        let Genotype::Convolutional { normal: found_normal, reduce: found_reduce } = derive(&space, &alphas, Some(k)).unwrap() else {
            panic!("not a convolutional genotype");
        };
        prop_assert_eq!(plain(&found_normal), restated(&space, &normal, k));
        prop_assert_eq!(plain(&found_reduce), restated(&space, &reduce, k));
        prop_assert_eq!(found_normal.concat, space.concat());
        if k == 2 {
            derive(&space, &alphas, None).unwrap().validate(&space).unwrap();
        }
    }

    #[test]
    fn a_recurrent_node_keeps_one_edge(table in table(36, 5)) {
        let space = Space::preset("darts-rnn").unwrap();
        let genotype = derive(&space, &[("recurrent".to_string(), table.clone())], None).unwrap();
        genotype.validate(&space).unwrap();
        let Genotype::Recurrent { recurrent } = genotype else { panic!("not a recurrent genotype") };
        prop_assert_eq!(plain(&recurrent), restated(&space, &table, 1));
    }

    #[test]
    fn softmax_weights_are_positive_and_sum_to_one(row in prop::collection::vec(-50.0f64..50.0, 1..10)) {
        let weights = softmax(&row);
        prop_assert!(weights.iter().all(|weight| *weight > 0.0 && *weight <= 1.0));
        prop_assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-14);
    }
}

/// A space with two nodes and the operations none, max pooling and skip connection.
fn small() -> Space {
    Space::from_json(r#"{"nodes": 2, "operations": ["none", "max_pool_3x3", "skip_connect"]}"#).unwrap()
}

fn of_small(normal: Array2<f64>) -> Vec<(String, usize)> {
    let alphas = [("normal".to_string(), normal), ("reduce".to_string(), Array2::zeros((5, 3)))];
    match derive(&small(), &alphas, None).unwrap() {
        Genotype::Convolutional { normal, .. } => plain(&normal),
        _ => panic!("not a convolutional genotype"),
    }
}

#[test]
fn equal_logits_keep_the_lowest_operation_and_the_lowest_edges() {
    let pool = |node| ("max_pool_3x3".to_string(), node);
    assert_eq!(of_small(Array2::zeros((5, 3))), [pool(0), pool(1), pool(0), pool(1)]);
}

#[test]
fn edges_compete_by_softmax_weight_and_not_by_logit() {
    // Edge 0 has the larger logit and the smaller weight, because its `none` is larger still.
    let genes = of_small(array![[5.0, 3.0, 0.0], [0.0, 2.0, 0.0], [9.0, 3.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]]);
    let expected = [("max_pool_3x3", 1), ("max_pool_3x3", 0), ("skip_connect", 2), ("max_pool_3x3", 1)];
    assert_eq!(genes, expected.map(|(name, node)| (name.to_string(), node)));
}

#[test]
fn more_edges_than_a_node_has_are_all_it_has() {
    let zeros = Array2::zeros((5, 3));
    let alphas = [("normal".to_string(), zeros.clone()), ("reduce".to_string(), zeros)];
    let Genotype::Convolutional { normal, .. } = derive(&small(), &alphas, Some(9)).unwrap() else {
        panic!("not a convolutional genotype");
    };
    let sources = normal.nodes.iter().map(|edges| edges.iter().map(|edge| edge.source).collect::<Vec<_>>());
    assert_eq!(sources.collect::<Vec<_>>(), [vec![0, 1], vec![0, 1, 2]]);
}

#[test]
fn what_is_not_an_alpha_is_refused_with_the_reason() {
    let space = small();
    let good = || Array2::<f64>::zeros((5, 3));
    let with = |number: f64| {
        let mut table = good();
        table[[2, 1]] = number;
        table
    };
    let pair = |normal: Array2<f64>| vec![("normal".to_string(), normal), ("reduce".to_string(), good())];
    let mut masked = good();
    masked.row_mut(3).fill(f64::NEG_INFINITY);
    for (alphas, kind, reason) in [
        (vec![("normal".to_string(), good())], ErrorKind::Data, "must hold the table `reduce` exactly once"),
        ([pair(good()), pair(good())].concat(), ErrorKind::Data, "must hold the table `normal` exactly once"),
        (vec![("normale".to_string(), good())], ErrorKind::Data, "unknown α table `normale`; did you mean `normal`?"),
        (pair(Array2::zeros((3, 5))), ErrorKind::Data, "has shape [3, 5]; space `darts` has 5 edges and 3 operations"),
        (pair(with(f64::NAN)), ErrorKind::Data, "`normal`, row 2, holds NaN"),
        (pair(with(f64::INFINITY)), ErrorKind::Data, "`normal`, row 2"),
        (pair(masked), ErrorKind::Data, "`normal`, row 3"),
    ] {
        let error = derive(&space, &alphas, None).unwrap_err();
        assert_eq!(error.kind, kind);
        assert!(error.detail.contains(reason), "{error}");
    }
    assert!(derive(&space, &pair(with(f64::NEG_INFINITY)), None).is_ok(), "a masked operation is no error");
}

#[test]
fn entropy_is_that_of_the_softmax_in_nats() {
    let entropy = |mut table: Array2<f64>| {
        for mut row in table.rows_mut() {
            let weights = softmax(&row.to_vec());
            row.assign(&Array1::from(weights));
        }
        entropy_of(table.view(), true)
    };
    assert!((entropy(Array2::zeros((14, 8))) - 8f64.ln()).abs() < 1e-15);
    // Shown as 0, not as -0.
    for decided in [Array2::zeros((0, 8)), array![[0.0, f64::NEG_INFINITY], [2000.0, 0.0]]] {
        assert_eq!(entropy(decided).to_bits(), 0f64.to_bits());
    }
    for shares in [true, false] {
        assert_eq!(entropy_of(array![[0.0, 0.0], [0.0, 1.0]].view(), shares).to_bits(), 0f64.to_bits());
    }
    let (p, q) = (0.25f64, 0.75f64);
    let expected = (-(p * p.ln() + q * q.ln()) + 2f64.ln()) / 2.0;
    assert!((entropy(array![[p.ln(), q.ln()], [1.0, 1.0]]) - expected).abs() < 1e-15);
}
