use super::super::hash;
use super::*;

fn members(count: u32) -> Vec<Weighted> {
    (0..count).map(|member| (hash(format!("10.0.{}.{}:80", member / 256, member % 256).as_bytes()), 1)).collect()
}

fn places(table: &Table) -> Vec<u32> {
    match &table.places {
        Places::Narrow(places) => places.iter().copied().map(u32::from).collect(),
        Places::Wide(places) => places.to_vec(),
    }
}

/// Places of each member.
fn had(table: &Table, members: usize) -> Vec<f64> {
    let mut had = vec![0.0; members];
    places(table).iter().for_each(|member| had[*member as usize] += 1.0);
    had
}

/// The part of the keys that move when each of some members leaves, one at a time, and the greatest of them.
fn moved(count: u32) -> (f64, f64) {
    let before = places(&Table::new(&members(count)));
    let one_left = |gone: u32| {
        let mut members = members(count);
        members[gone as usize].1 = 0;
        let after = places(&Table::new(&members));
        before.iter().zip(after).filter(|(before, after)| *before != after).count() as f64 / before.len() as f64
    };
    let all: Vec<f64> = (0..5).map(|part| one_left(part * count / 5)).collect();
    (all.iter().sum::<f64>() / 5.0, all.into_iter().fold(0.0, f64::max))
}

#[test]
fn shares_differ_by_a_hundredth_at_most() {
    for count in [1, 2, 3, 10, 64, 65, 100, 1_000, 6_553] {
        let had = had(&Table::new(&members(count)), count as usize);
        let (least, most) = had.iter().fold((f64::MAX, 0.0_f64), |(least, most), had| (had.min(least), had.max(most)));
        assert!(most - least <= 1.0 && most <= least * 1.01, "{count}: {least} to {most}");
    }
}

#[test]
fn shares_follow_weights_to_within_a_place() {
    let weights = [1, 0, 7, 100, 250, 3, u32::MAX / 1_000_000];
    let members: Vec<Weighted> =
        members(7).into_iter().zip(weights).map(|((hash, _), weight)| (hash, weight)).collect();
    let sum = weights.iter().map(|weight| f64::from(*weight)).sum::<f64>();
    for (had, weight) in had(&Table::new(&members), 7).into_iter().zip(weights) {
        assert!((had - f64::from(weight) / sum * 65_537.0).abs() <= 1.0, "{had} for {weight}");
    }
}

#[test]
fn little_more_than_its_keys_move_when_a_member_leaves() {
    // Measured; the chance is in the addresses, so these are what they are.
    for (count, times) in [(2, 1.001), (10, 1.04), (64, 1.35), (100, 1.16)] {
        let ((mean, worst), ideal) = (moved(count), 1.0 / f64::from(count));
        assert!(worst <= ideal * times && worst <= ideal + 0.02, "{count}: {worst}");
        assert!(mean >= ideal * 0.999, "{count}: {mean}");
    }
}

#[test]
fn the_order_of_the_list_does_not_matter() {
    let members: Vec<Weighted> = members(20).into_iter().zip(1..).map(|((hash, _), weight)| (hash, weight)).collect();
    let mut turned = members.clone();
    turned.reverse();
    let (table, of_turned) = (Table::new(&members), Table::new(&turned));
    for key in (0..10_000).map(mix) {
        assert_eq!(table.at(key), of_turned.at(key).map(|member| 19 - member));
        assert!(table.successors(key).eq(of_turned.successors(key).map(|member| 19 - member)));
    }
}

#[test]
fn keys_are_where_they_were_in_every_version() {
    let table = Table::new(&members(10));
    let keys = ["", "alice", "bob", "session=12345678"].map(|key| table.at(hash(key.as_bytes())).unwrap());
    assert_eq!(keys, [3, 1, 1, 2]);
    let succession: Vec<_> = table.successors(hash(b"alice")).collect();
    assert_eq!(succession, [1, 3, 6, 2, 9, 5, 0, 8, 7, 4]);
}

#[test]
fn nobody_is_met_where_nobody_weighs_anything() {
    for members in [vec![], vec![(1, 0), (2, 0)]] {
        let table = Table::new(&members);
        assert_eq!((table.at(7), table.successors(7).next()), (None, None));
    }
}

#[test]
fn numbers_beyond_16_bits_have_their_place_too() {
    let mut all = vec![(0, 0); 65_536];
    all.extend(members(3));
    let table = Table::new(&all);
    assert!((0..100).map(mix).all(|key| table.at(key).is_some_and(|member| member >= 65_536)));
    assert_eq!(table.successors(9).count(), 3);
}

#[test]
fn everyone_succeeds_once_and_the_keys_own_member_is_first() {
    for count in [1, 2, 3, 8, 9, 10, 64, 97, 360] {
        let mut members = members(count);
        members.push((1, 0));
        let table = Table::new(&members);
        for key in (0..100).map(mix) {
            let mut all: Vec<_> = table.successors(key).collect();
            assert_eq!(Some(all[0]), table.at(key));
            all.sort_unstable();
            assert_eq!(all, (0..count as usize).collect::<Vec<_>>());
        }
    }
}

/// How evenly keys are spread when only these are there: the most that one of them has, over the mean.
fn fullest(table: &Table, keys: u64, is_there: impl Fn(usize) -> bool) -> f64 {
    let mut had = vec![0_u32; table.members.len()];
    for key in (0..keys).map(mix) {
        had[table.successors(key).find(|member| is_there(*member)).unwrap()] += 1;
    }
    let there = (0..had.len()).filter(|member| is_there(*member)).count();
    f64::from(had.into_iter().max().unwrap()) / (keys as f64 / there as f64)
}

#[test]
fn keys_of_members_that_are_away_are_spread_over_the_others() {
    let (table, keys) = (Table::new(&members(50)), 200_000);
    // By chance alone, some 4,000 keys each vary by 1.6%; three times that is rare among 50.
    let one_away = fullest(&table, keys, |member| member != 17);
    assert!(one_away < 1.06, "{one_away}");
    let half_away = fullest(&table, keys, |member| member % 2 == 0);
    assert!(half_away < 1.06, "{half_away}");
    // Most keys meet none of these in the table.
    let most_away = fullest(&table, keys, |member| member < 3);
    assert!(most_away < 1.06, "{most_away}");
}

#[test]
fn successors_of_a_heavy_member_share_by_weight() {
    let weights = [50, 10, 20, 40];
    let members: Vec<Weighted> =
        members(4).into_iter().zip(weights).map(|((hash, _), weight)| (hash, weight)).collect();
    let table = Table::new(&members);
    let mut second = [0_u32; 4];
    for key in (0..200_000).map(mix).filter(|key| table.at(*key) == Some(0)) {
        second[table.successors(key).nth(1).unwrap()] += 1;
    }
    let sum = f64::from(second.iter().sum::<u32>());
    for (second, weight) in second.into_iter().zip(weights).skip(1) {
        let share = f64::from(weight) / 70.0;
        assert!((f64::from(second) / sum - share).abs() < 0.01, "{second} for {weight}");
    }
}
