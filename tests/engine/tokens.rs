//! Segments of text.
#![cfg(feature = "torch")]

use proptest::prelude::*;
use pydarts::data::{Batch, Expected, Role, Segments, Source, TokenSource};
use pydarts::error::ErrorKind;
use pydarts::ranks::Share;
use tch::{Device, Kind, Tensor};

fn source(count: i64, cut: Segments) -> pydarts::error::Result<TokenSource> {
    let tokens = Tensor::arange(count, (Kind::Int64, Device::Cpu));
    TokenSource::new(&tokens, count.max(1), cut, Device::Cpu, "training text")
}

fn pass(source: &mut TokenSource, index: u64, skip: usize) -> Vec<Batch> {
    source.start(index, skip).unwrap();
    std::iter::from_fn(|| source.next().unwrap()).collect()
}

fn segments(batch: usize, bptt: usize, role: Role) -> Segments {
    Segments { batch, bptt, seed: 3, role, share: Share::WHOLE }
}

proptest! {
    /// Sequence after sequence, the inputs of a pass are the text and the targets the tokens one further on.
    #[test]
    fn a_pass_reads_every_token_once(
        batch in 1usize..5, bptt in 1usize..9, more in 0i64..40, index in 0u64..50,
        role in prop::sample::select(vec![Role::Train, Role::Valid, Role::Evaluation]),
    ) {
        let count = (bptt as i64 + 1) * batch as i64 + more;
        let length = count / batch as i64;
        prop_assume!(length >= 2);
        let mut source = source(count, segments(batch, bptt, role)).unwrap();
        let batches = pass(&mut source, index, 0);
        prop_assert_eq!(source.batches(), Some(batches.len()));
        let whole = |of: fn(&Batch) -> &Tensor| Tensor::cat(&batches.iter().map(of).collect::<Vec<_>>(), 0);
        let (inputs, targets) = (whole(|batch| &batch.inputs), whole(|batch| &batch.targets));
        for column in 0..batch as i64 {
            let text = |begin: i64| Tensor::arange_start(column * length + begin, (column + 1) * length - 1 + begin, (Kind::Int64, Device::Cpu));
            prop_assert!(inputs.select(1, column).equal(&text(0)));
            prop_assert!(targets.select(1, column).equal(&text(1)));
        }
        for (place, segment) in batches.iter().enumerate() {
            let tokens = segment.inputs.size()[0];
            prop_assert!(tokens >= 1 && tokens <= bptt as i64);
            prop_assert_eq!(segment.begins, place == 0);
            prop_assert_eq!(segment.rate_scale, tokens as f64 / bptt as f64);
            prop_assert_eq!((segment.width(), segment.examples()), (batch as i64, tokens * batch as i64));
        }
    }

    #[test]
    fn a_pass_that_is_taken_up_goes_on_as_it_would_have(skip in 0usize..6, index in 0u64..9) {
        let mut source = source(400, segments(2, 7, Role::Train)).unwrap();
        let whole = pass(&mut source, index, 0);
        let rest = pass(&mut source, index, skip);
        prop_assert_eq!(rest.len(), whole.len() - skip);
        for (one, other) in rest.iter().zip(&whole[skip..]) {
            prop_assert!(one.inputs.equal(&other.inputs) && one.targets.equal(&other.targets));
            prop_assert_eq!(one.begins, other.begins);
        }
    }
}

#[test]
fn one_training_segment_in_twenty_is_half_as_long_and_passes_differ() {
    let mut source = source(100_000, segments(2, 20, Role::Train)).unwrap();
    let lengths = |batches: &[Batch]| -> Vec<i64> { batches.iter().map(|batch| batch.inputs.size()[0]).collect() };
    let (one, other) = (lengths(&pass(&mut source, 0, 0)), lengths(&pass(&mut source, 1, 0)));
    assert_ne!(one, other);
    let halved = one.iter().filter(|length| **length == 10).count() as f64 / one.len() as f64;
    assert!((0.035..0.065).contains(&halved), "{halved}");
    assert!(one[..one.len() - 1].iter().all(|length| [10, 20].contains(length)));
}

#[test]
fn segments_that_are_not_for_training_are_all_of_one_length() {
    for role in [Role::Valid, Role::Evaluation] {
        let mut source = source(2001, segments(1, 20, role)).unwrap();
        assert!(pass(&mut source, 4, 0).iter().all(|batch| batch.inputs.size() == [20, 1]));
    }
}

#[test]
fn what_is_no_text_is_refused_by_name() {
    let refused = |tokens: Tensor, words: i64, batch: usize, bptt: usize| {
        let cut = segments(batch, bptt, Role::Train);
        let error = TokenSource::new(&tokens, words, cut, Device::Cpu, "training text").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data);
        error.to_string()
    };
    let tokens = |numbers: &[i64]| Tensor::from_slice(numbers);
    let outside = refused(tokens(&[1, 7]), 7, 1, 1);
    assert!(outside.contains("token 7") && outside.contains("words=7"), "{outside}");
    assert!(refused(tokens(&[1, -2]), 7, 1, 1).contains("token -2"));
    assert!(refused(tokens(&[]), 7, 1, 1).contains("training text is empty"));
    assert!(refused(tokens(&[0; 11]), 7, 4, 3).contains("11 tokens, 2 for each of 4 sequences"));
    assert!(refused(Tensor::from_slice(&[0.5, 1.0]), 7, 1, 1).contains("must be integers"));
    assert!(refused(tokens(&[0; 4]).view([2, 2]), 7, 1, 1).contains("one row of tokens"));
}

#[test]
fn the_rate_of_a_batch_of_tokens_follows_its_length_and_faults_are_named() {
    let expected = Expected::Words { words: 9, bptt: 4, device: Device::Cpu };
    let tokens = |shape: &[i64], token: i64| Tensor::full(shape, token, (Kind::Int64, Device::Cpu));
    let batch = expected.admit(&tokens(&[2, 3], 8), &tokens(&[2, 3], 0), "batch 0").unwrap();
    assert_eq!((batch.begins, batch.rate_scale), (false, 0.5));
    let whole = || tokens(&[2, 3], 1);
    for (inputs, targets, text) in [
        (tokens(&[6], 1), tokens(&[6], 1), "[tokens, batch]"),
        (whole(), tokens(&[2, 2], 1), "next tokens of shape [2, 2]"),
        (whole(), tokens(&[2, 3], 9), "token 9"),
        (whole().to_kind(Kind::Float), whole(), "integers"),
    ] {
        let error = expected.admit(&inputs, &targets, "training batch 7").unwrap_err();
        assert_eq!(error.kind, ErrorKind::Data);
        assert!(error.detail.contains("training batch 7") && error.detail.contains(text), "{error}");
    }
}
