use super::*;

fn round(weights: &[u32]) -> Vec<usize> {
    let turns = Turns::new(weights);
    (0..turns.round.len()).map(|turn| turns.at(turn).unwrap()).collect()
}

fn had(round: &[usize], members: usize) -> Vec<u64> {
    let mut had = vec![0; members];
    round.iter().for_each(|member| had[*member] += 1);
    had
}

/// Weights that differ by up to a thousand times.
fn some_weights(seed: u64, members: u64) -> Vec<u32> {
    (0..members).map(|member| u32::try_from(1 << below(mix(seed * 1_000 + member), 11)).unwrap()).collect()
}

#[test]
fn equal_members_take_turns_in_order() {
    assert_eq!(round(&[1, 1, 1]), [0, 1, 2]);
    assert_eq!(round(&[1000; 5]), [0, 1, 2, 3, 4]);
    assert_eq!(round(&[0, 7, 0, 7]), [1, 3]);
    assert_eq!(round(&[3]), [0]);
    let turns = Turns::new(&[2, 2]);
    assert_eq!([0, 1, 2, 3, usize::MAX].map(|turn| turns.at(turn)), [0, 1, 0, 1, 1].map(Some));
}

#[test]
fn nobody_has_a_turn_where_nobody_weighs_anything() {
    for weights in [&[][..], &[0], &[0, 0]] {
        assert_eq!((Turns::new(weights).at(3), Turns::new(weights).two(3)), (None, None));
    }
}

#[test]
fn a_heavy_member_turns_up_in_between() {
    assert_eq!(round(&[5, 1, 1]), [0, 0, 1, 0, 0, 2, 0]);
    assert_eq!(round(&[1, 2]), [1, 0, 1]);
    assert_eq!(round(&[300, 0, 100]), [0, 0, 2, 0]);
}

#[test]
fn over_a_round_shares_are_exact() {
    for seed in 0..50 {
        let weights = some_weights(seed, 1 + seed);
        let (round, sum) = (round(&weights), weights.iter().sum::<u32>());
        let had = had(&round, weights.len());
        for (had, weight) in had.iter().zip(&weights) {
            assert_eq!(had * u64::from(sum), u64::from(*weight) * round.len() as u64, "{weights:?}");
        }
    }
}

#[test]
fn at_no_point_is_a_member_a_whole_turn_ahead_or_behind() {
    for seed in 0..50 {
        let weights = some_weights(seed, 2 + seed);
        let (round, sum) = (round(&weights), i64::from(weights.iter().sum::<u32>()));
        let mut had = vec![0_i64; weights.len()];
        for (turn, member) in (1..).zip(&round) {
            had[*member] += 1;
            for (had, weight) in had.iter().zip(&weights) {
                assert!((had * sum - turn * i64::from(*weight)).abs() < sum, "{weights:?} at {turn}");
            }
        }
    }
}

#[test]
fn weights_that_need_a_longer_round_are_rounded_to_fit() {
    let check = |weights: &[u32]| {
        let round = round(weights);
        assert!(round.len() as u64 <= LEN_MAX.max(weights.len() as u64));
        let (sum, len) = (weights.iter().map(|weight| f64::from(*weight)).sum::<f64>(), round.len() as f64);
        let light = weights.iter().filter(|weight| f64::from(**weight) * 65_536.0 < sum).count();
        for (had, weight) in had(&round, weights.len()).iter().zip(weights) {
            assert_eq!(*had > 0, *weight > 0);
            let off = (*had as f64 / len - f64::from(*weight) / sum).abs();
            assert!(off < (light + 1) as f64 / 65_536.0, "{off} for {weight} of {sum}");
        }
    };
    check(&[65_537, 1]);
    check(&[u32::MAX, 1, u32::MAX - 1, 0]);
    check(&[u32::MAX, 0, 1, 2, 3, 4, 5]);
    for seed in 0..20 {
        let weights: Vec<u32> = (0..=seed * 100).map(|member| (mix(seed << 32 | member) >> 40) as u32).collect();
        check(&weights);
    }
}

#[test]
fn more_members_than_a_round_is_long_take_one_turn_each() {
    let mut weights = vec![1; 70_000];
    weights[5] = 9;
    assert_eq!(round(&weights), (0..70_000).collect::<Vec<_>>());
}

#[test]
fn two_members_differ_and_each_comes_by_its_weight() {
    let weights = [1, 0, 2, 5, 0];
    let (turns, draws) = (Turns::new(&weights), 100_000_u32);
    let mut met = [[0_u32; 5]; 5];
    for seed in 0..u64::from(draws) {
        let (first, second) = turns.two(mix(seed)).unwrap();
        met[first][second] += 1;
    }
    for (first, second) in (0..25).map(|pair| (pair / 5, pair % 5)) {
        let rest = f64::from(8 - weights[first]);
        let share = if first == second { 0.0 } else { f64::from(weights[first] * weights[second]) / 8.0 / rest };
        let (expected, deviation) = (share * f64::from(draws), (share * (1.0 - share) * f64::from(draws)).sqrt());
        let met = f64::from(met[first][second]);
        assert!((met - expected).abs() <= 5.0 * deviation, "{first}, {second}: {met} for {expected}");
    }
}

#[test]
fn where_there_is_one_member_it_comes_twice() {
    assert_eq!(Turns::new(&[0, 3, 0]).two(9), Some((1, 1)));
}

/// How full the fullest bin is above the mean, for its weight, once so many balls are in.
fn fullest(weights: &[u32], balls: u64, choose: impl Fn(&[u32], usize, usize) -> usize) -> f64 {
    let (turns, mut bins) = (Turns::new(weights), vec![0_u32; weights.len()]);
    for ball in 0..balls {
        let (first, second) = turns.two(mix(ball)).unwrap();
        let chosen = choose(&bins, first, second);
        bins[chosen] += 1;
    }
    let sum = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
    let over = bins.iter().zip(weights).map(|(bin, weight)| f64::from(*bin) / f64::from(*weight) - balls as f64 / sum);
    over.fold(f64::MIN, f64::max)
}

#[test]
fn the_lesser_of_two_is_far_better_than_one_by_chance() {
    let bins = 65_536_u32;
    let (weights, log) = (vec![1; bins as usize], f64::from(bins).ln());
    let one = fullest(&weights, bins.into(), |_, first, _| first) + 1.0;
    let two = fullest(&weights, bins.into(), |bins, a, b| if bins[b] < bins[a] { b } else { a }) + 1.0;
    // Raab, Steger 1998: one choice fills the fullest bin with more than log n / log log n. Azar et al. 1994: two with
    // log2 log n and a constant, for which Mitzenmacher found 2 to be enough at this size.
    assert!(one > log / log.ln() + 2.0, "{one}");
    assert!(two <= log.ln() / 2_f64.ln() + 2.0, "{two}");
}

#[test]
fn the_lesser_of_two_stays_close_to_its_weight_for_ever() {
    let weights: Vec<u32> = (0..1_000).map(|member| 1 + member % 4).collect();
    let lesser = |bins: &[u32], a: usize, b: usize| {
        // (a's load + 1) / a's weight, compared without dividing.
        if (bins[b] + 1) * weights[a] < (bins[a] + 1) * weights[b] { b } else { a }
    };
    // Berenbrink et al. 2000: what the fullest has above the mean does not grow with the number of balls, while by chance
    // alone it grows with its root.
    for balls in [250_000, 1_000_000] {
        let (two, one) = (fullest(&weights, balls, lesser), fullest(&weights, balls, |_, first, _| first));
        assert!(two <= 1_000_f64.ln().log2() + 2.0, "{two}");
        assert!(one > (balls as f64 / 2_500.0).sqrt() * 2.0, "{one}");
    }
}
