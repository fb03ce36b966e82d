//! Plans of recurrent spaces: names, sizes, what depends on the state, and what each pass makes of them.

use pydarts::config::Rewrite;
use pydarts::plan::{Geometry, Language, Op, Plan, passes};
use pydarts::space::{Reads, Space};

const PUBLISHED: Language = Language { words: 10_000, units: 300 };

fn rnn() -> Space {
    Space::preset("darts-rnn").unwrap()
}

fn count(plan: &Plan, is: impl Fn(&Op) -> bool) -> usize {
    plan.instructions.iter().filter(|it| is(&it.op)).count()
}

#[test]
fn the_published_network_has_the_published_weights() {
    let plan = Plan::lower_language(&rnn(), &PUBLISHED).unwrap();
    assert_eq!(plan.cost().weights, 4_810_000);
    let names: Vec<String> = plan.weights.iter().map(|it| format!("{} {:?}", it.name, it.shape)).collect();
    assert_eq!(names[..3], ["encoder.weight [10000, 300]", "cell.w0 [600, 600]", "cell.w1 [300, 600]"]);
    assert_eq!(names[9..], ["cell.w8 [300, 600]", "decoder.bias [10000]"]);
    assert_eq!((plan.alphas[0].rows.len(), plan.alphas[0].columns), (36, 5));
    assert_eq!(plan.statistics.len(), 9);
}

#[test]
fn what_does_not_wait_for_the_state_runs_before_or_after() {
    let plan = Plan::lower_language(&rnn(), &PUBLISHED).unwrap();
    let spans = plan.spans().unwrap();
    let ops = |which: &[usize]| which.iter().map(|index| plan.instructions[*index].op.clone()).collect::<Vec<_>>();
    assert!(matches!(ops(&spans.before)[..], [Op::Lookup { .. }, Op::Mask { .. }, Op::Mask { .. }]));
    assert!(matches!(ops(&spans.after)[..], [Op::Mask { .. }, Op::Linear { .. }]));
    assert_eq!(spans.before.len() + spans.within.len() + spans.after.len(), plan.instructions.len());
    let hoisted = passes::rewrite(plan.clone(), &[Rewrite::Hoist], usize::MAX).unwrap();
    assert_eq!(hoisted.spans().unwrap().before.len(), 4, "the input's product is one for all tokens");
}

#[test]
fn a_node_multiplies_its_states_once() {
    let plan = Plan::lower_language(&rnn(), &PUBLISHED).unwrap();
    let products = |plan: &Plan| count(plan, |op| matches!(op, Op::Product { .. }));
    let gates = |plan: &Plan| count(plan, |op| matches!(op, Op::Gate { .. }));
    assert_eq!((products(&plan), gates(&plan)), (1 + 36 * 4, 1 + 36 * 4));
    let with = |which: &[Rewrite]| passes::rewrite(plan.clone(), which, usize::MAX).unwrap();
    let shared = with(&[Rewrite::Share]);
    assert_eq!((products(&shared), gates(&shared)), (1 + 36, 1 + 36 * 4));
    assert_eq!(count(&shared, |op| matches!(op, Op::Mask { .. })), 5 + 7, "each state is masked once");
    // The first node has one state, and nothing to stack.
    assert_eq!(products(&with(&[Rewrite::Share, Rewrite::Stack])), 1 + 8);
    let all = with(Rewrite::of(Reads::Words));
    assert_eq!((products(&all), gates(&all)), (2 + 8, 1));
    assert_eq!(count(&all, |op| matches!(op, Op::Unstack { .. })), 0);
    assert_eq!(all.cost().weights, plan.cost().weights);
    assert_eq!(all.cost().multiply_adds, shared.cost().multiply_adds);
}

#[test]
fn passes_over_convolutions_leave_a_recurrent_plan_as_it_is() {
    let ops = |plan: &Plan| plan.instructions.iter().map(|it| it.op.clone()).collect::<Vec<_>>();
    let plan = Plan::lower_language(&rnn(), &PUBLISHED).unwrap();
    for which in Rewrite::of(Reads::Images).iter().filter(|which| **which != Rewrite::Share) {
        let rewritten = passes::rewrite(plan.clone(), &[*which], usize::MAX).unwrap();
        assert!(ops(&rewritten) == ops(&plan), "{which:?}");
    }
    let geometry = Geometry { channels: 4, layers: 2, num_classes: 3, in_channels: 3, image_size: (8, 8) };
    let images = Plan::lower(&Space::preset("darts").unwrap(), &geometry).unwrap();
    for which in Rewrite::of(Reads::Words).iter().filter(|which| **which != Rewrite::Share) {
        let rewritten = passes::rewrite(images.clone(), &[*which], usize::MAX).unwrap();
        assert!(ops(&rewritten) == ops(&images), "{which:?}");
    }
}

#[test]
fn sizes_and_spaces_that_cannot_be_are_refused() {
    let refused = |space: &Space, words: usize, units: usize| {
        Plan::lower_language(space, &Language { words, units }).unwrap_err().to_string()
    };
    assert!(refused(&rnn(), 0, 3).contains("`num_classes` is 0"));
    assert!(refused(&rnn(), 3, 0).contains("`units` is 0"));
    assert!(refused(&Space::preset("darts").unwrap(), 3, 3).contains("reads images, not words"));
    let geometry = Geometry { channels: 4, layers: 2, num_classes: 3, in_channels: 3, image_size: (8, 8) };
    assert!(Plan::lower(&rnn(), &geometry).unwrap_err().to_string().contains("reads words, not images"));
}

#[test]
fn explain_shows_a_recurrent_plan_before_and_after_each_pass() {
    let space = r#"{"kind": "recurrent", "name": "small", "nodes": 2, "operations": ["none", "tanh", "relu"]}"#;
    let mut plan = Plan::lower_language(&Space::from_json(space).unwrap(), &Language { words: 100, units: 8 }).unwrap();
    insta::assert_snapshot!("recurrent_before_the_passes", plan.explain());
    for pass in Rewrite::of(Reads::Words) {
        plan = passes::rewrite(plan, &[*pass], usize::MAX).unwrap();
        insta::assert_snapshot!(format!("recurrent_after_{}", plan.passes.last().unwrap()), plan.explain());
    }
}
