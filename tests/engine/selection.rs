//! Selections: each rule on tables written by hand, architectures as genotypes, and what cannot be picked.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, array};
use proptest::prelude::*;
use pydarts::arch::selection::{self, ALL, Rule};
use pydarts::arch::{Architecture, Genotype, LogitRow, LogitTable, Pick, Selection, TableRole};
use pydarts::error::ErrorKind;
use pydarts::relaxation::TableState;
use pydarts::schedule::Schedule;
use pydarts::space::Space;

fn rule(name: &str) -> &'static dyn Rule {
    *ALL.iter().find(|rule| rule.spec().name == name).unwrap()
}

/// Two groups, of the rows 0 and 1, and 2 to 4; candidates none, a and b.
fn table() -> LogitTable {
    let candidates: Arc<[String]> = ["none", "a", "b"].map(String::from).into();
    let row = |index: usize| LogitRow { label: format!("{index}"), candidates: candidates.clone() };
    LogitTable {
        name: "normal".to_string(),
        rows: (0..5).map(row).collect(),
        columns: 3,
        groups: vec![vec![0, 1], vec![2, 3, 4]],
        picks: 1,
        kept: Some(2),
        least: None,
        unselectable: Some("none"),
        role: TableRole::Candidates,
    }
}

const STRENGTHS: [[f64; 3]; 5] =
    [[0.9, 0.05, 0.05], [0.2, 0.3, 0.5], [0.0, 0.1, 0.9], [0.1, 0.85, 0.05], [0.0, 0.9, 0.1]];

fn picks(name: &str, strengths: ArrayView2<f64>, values: &[f64]) -> Vec<(usize, usize)> {
    rule(name).pick(&table(), strengths, values).into_iter().map(|pick| (pick.row, pick.column)).collect()
}

#[test]
fn strongest_keeps_the_strongest_rows_of_each_group() {
    let strengths = Array2::from(STRENGTHS.to_vec());
    // 0: the number of the table.
    assert_eq!(picks("strongest", strengths.view(), &[0.0]), [(1, 2), (0, 1), (2, 2), (4, 1)]);
    assert_eq!(picks("strongest", strengths.view(), &[1.0]), [(1, 2), (2, 2)]);
    assert_eq!(picks("strongest", strengths.view(), &[9.0]), [(1, 2), (0, 1), (2, 2), (4, 1), (3, 1)]);
    let all = LogitTable { kept: None, ..table() };
    assert_eq!(rule("strongest").pick(&all, strengths.view(), &[0.0]).len(), 5);
    let strong = LogitTable { least: Some(0.9), ..all };
    let rows =
        |values| rule("strongest").pick(&strong, strengths.view(), values).iter().map(|p| p.row).collect::<Vec<_>>();
    assert_eq!((rows(&[0.0]), rows(&[9.0]).len()), (vec![2, 4], 5), "an explicit number replaces what the table says");
}

#[test]
fn a_row_keeps_as_many_candidates_as_its_table_says() {
    let strengths = array![[0.2, 0.5, 0.3], [0.4, f64::NAN, 0.4]];
    let two = LogitTable { groups: vec![vec![0], vec![1]], picks: 2, kept: None, unselectable: None, ..table() };
    let two = LogitTable { rows: two.rows[..2].to_vec(), ..two };
    for name in ["strongest", "argmax"] {
        let found = rule(name).pick(&two, strengths.view(), &[0.0]);
        let found: Vec<_> = found.into_iter().map(|pick| (pick.row, pick.column)).collect();
        assert_eq!(found, [(0, 1), (0, 2), (1, 0), (1, 2)], "{name}");
    }
}

#[test]
fn argmax_keeps_every_row() {
    let strengths = Array2::from(STRENGTHS.to_vec());
    assert_eq!(picks("argmax", strengths.view(), &[]), [(1, 2), (0, 1), (2, 2), (4, 1), (3, 1)]);
    let any = LogitTable { unselectable: None, ..table() };
    let found = rule("argmax").pick(&any, strengths.view(), &[]);
    assert_eq!(found[0], Pick { row: 0, column: 0 }, "a space may allow `none`");
}

#[test]
fn threshold_may_keep_nothing() {
    let strengths = Array2::from(STRENGTHS.to_vec());
    assert_eq!(picks("threshold", strengths.view(), &[0.85, 2.0]), [(2, 2), (4, 1)]);
    assert_eq!(picks("threshold", strengths.view(), &[0.85, 3.0]), [(2, 2), (4, 1), (3, 1)], "0.85 is enough");
    assert_eq!(picks("threshold", strengths.view(), &[0.5, 1.0]), [(1, 2), (2, 2)]);
    assert_eq!(picks("threshold", strengths.view(), &[0.95, 2.0]), []);
}

#[test]
fn what_is_masked_or_padded_is_never_picked() {
    let mut table = table();
    table.rows[3].candidates = vec!["b".to_string()].into();
    let mut state = TableState::new(&table);
    state.mask(2, &[2]).unwrap(); // the strongest of the row
    state.mask(1, &[1, 2]).unwrap(); // leaves `none`
    state.freeze(4, None).unwrap();
    state.freeze(0, Some(0)).unwrap();
    let strengths = state.selectable(Array2::from(STRENGTHS.to_vec()));
    for rule in ALL {
        let values: Vec<f64> = rule.spec().parameters.iter().map(|_| 0.0).collect();
        let found = rule.pick(&table, strengths.view(), &values);
        let rows: Vec<usize> = found.iter().map(|pick| pick.row).collect();
        assert!(!rows.contains(&0) && !rows.contains(&1) && !rows.contains(&4), "{}", rule.spec().name);
        assert!(found.iter().all(|pick| (pick.row, pick.column) == (2, 1) || (pick.row, pick.column) == (3, 0)));
    }
    assert_eq!(rule("argmax").pick(&table, strengths.view(), &[]).len(), 2);
}

proptest! {
    /// Strengths with many ties: every rule picks at most one candidate per row, the strongest and lowest, in order.
    #[test]
    fn every_rule_picks_the_strongest_candidate_of_a_row(
        numbers in prop::collection::vec(prop::sample::select(vec![0.0, 0.25, 0.5, 1.0, f64::NAN]), 15),
        value in 0.0f64..=1.0,
        k in 0u8..4,
    ) {
        let (table, strengths) = (table(), Array2::from_shape_vec((5, 3), numbers).unwrap());
        for rule in ALL {
            let values = match rule.spec().name {
                "strongest" => vec![f64::from(k)],
                "threshold" => vec![value, f64::from(k.max(1))],
                _ => vec![],
            };
            let picks = rule.pick(&table, strengths.view(), &values);
            for pick in &picks {
                let row = strengths.row(pick.row);
                let strength = row[pick.column];
                prop_assert!(pick.column > 0 && !strength.is_nan());
                prop_assert!(row.iter().skip(1).all(|other| other.is_nan() || *other <= strength));
                prop_assert!(row.iter().take(pick.column).skip(1).all(|other| *other != strength));
            }
            let group = |pick: &Pick| usize::from(pick.row > 1);
            let order = |pick: &Pick| (group(pick), -strengths[[pick.row, pick.column]], pick.row);
            prop_assert!(picks.windows(2).all(|pair| order(&pair[0]) < order(&pair[1])), "{}", rule.spec().name);
        }
    }
}

fn select(text: &str, space: &Space, strengths: &[(String, Array2<f64>)]) -> Genotype {
    let config = pydarts::config::SearchConfig::from_json(&format!(r#"{{"selection": {text}}}"#)).unwrap();
    selection::genotype(space, strengths, &config.optimisation.selection).unwrap()
}

#[test]
fn a_genotype_may_have_nodes_without_edges() {
    let space = Space::from_json(r#"{"nodes": 2, "operations": ["none", "max_pool_3x3", "skip_connect"]}"#).unwrap();
    let normal = Array2::from(STRENGTHS.to_vec());
    let strengths = [("normal".to_string(), normal), ("reduce".to_string(), Array2::zeros((5, 3)))];
    let genotype = select(r#"{"name": "threshold", "value": 0.9, "k": 1}"#, &space, &strengths);
    let expected = r#"{"normal": [[], [["skip_connect", 0]]], "normal_concat": [2, 3], "reduce": [[], []], "reduce_concat": [2, 3]}"#;
    assert_eq!(genotype, Genotype::from_json(expected).unwrap());
    genotype.validate(&space).unwrap();
    assert_eq!(Genotype::from_json(&genotype.to_json()).unwrap(), genotype);
    assert_eq!(Genotype::from_notation(&genotype.to_string()).unwrap(), genotype);
    assert_eq!(select(r#""argmax""#, &space, &strengths).cells()[0].1.edges().count(), 5);
}

#[test]
fn an_architecture_of_another_space_is_refused() {
    let space = Space::preset("darts-rnn").unwrap();
    let of = |name: &str, row: usize, column: usize| Architecture {
        tables: vec![(name.to_string(), vec![Pick { row, column }])],
    };
    let genotype = Genotype::of_architecture(&space, &of("recurrent", 35, 1)).unwrap();
    assert_eq!(genotype.cells()[0].1.empty_node(), Some(0));
    assert_eq!(genotype.cells()[0].1.nodes[7].len(), 1);
    for (architecture, part) in
        [(of("normal", 0, 1), "`recurrent`"), (of("recurrent", 36, 1), "row 36"), (of("recurrent", 0, 5), "column 5")]
    {
        let error = Genotype::of_architecture(&space, &architecture).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Genotype);
        assert!(error.detail.contains(part), "{error}");
    }
}

#[test]
fn selections_are_read_and_written_by_name() {
    let read = |text: &str| pydarts::config::SearchConfig::from_json(&format!(r#"{{"selection": {text}}}"#));
    let strongest = read(r#"{"name": "strongest", "k": null}"#).unwrap().optimisation.selection;
    assert_eq!(strongest, Selection::default());
    assert_eq!(
        read(r#"{"name": "strongest", "k": 3}"#).unwrap().optimisation.selection,
        Selection::default().with("k", Schedule::Constant(3.0))
    );
    for text in [
        r#""strangest""#,
        "3",
        r#"{"name": "strongest", "k": -1}"#,
        r#"{"name": "argmax", "k": 1}"#,
        r#"{"name": "threshold", "value": 1.5}"#,
        r#"{"name": "threshold", "k": 0}"#,
    ] {
        assert_eq!(read(text).unwrap_err().kind, ErrorKind::Config, "{text}");
    }
    let found = array![[0.1, 0.2]];
    assert!(
        selection::genotype(&Space::preset("darts").unwrap(), &[("normal".to_string(), found)], &strongest).is_err()
    );
}
