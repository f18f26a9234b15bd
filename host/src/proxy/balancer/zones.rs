//! Keeps traffic near: members in our own zone get all of it while enough of them can be reached, and less as they fail.
//!
//! Near members may be given up to 1.4 times what they would have if all of them were there (Envoy's over-provisioning);
//! the rest goes to members farther away. So the loss of up to 2/7 of a zone changes nothing for the others, and what is
//! left of a zone is not crushed.

/// 1.4, in fifths.
const OVER_PROVISIONING: u128 = 7;
const FIFTHS: u128 = 5;

/// What is known of a member.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// Whether it is in our zone.
    pub is_near: bool,
    /// Whether it may be asked.
    pub is_available: bool,
    /// Its weight in thousandths, with what slow start takes off.
    pub weight: u32,
}

/// What members weigh when distance counts: 0 for who is not available, or not needed. What is scaled keeps at least 1,
/// and its proportions to some 2^-22.
///
/// Where nobody is near or nobody far, weights stay as they are. Where nobody is available at all they do too: somebody
/// has to be asked, or it will never be known that they are back.
pub fn weights(members: &[Seen]) -> Vec<u32> {
    if sum(members, |member| member.is_available) == 0 {
        return members.iter().map(|member| member.weight).collect();
    }
    let near = sum(members, |member| member.is_near && member.is_available);
    let far = sum(members, |member| !member.is_near && member.is_available);
    let near_at_best = sum(members, |member| member.is_near);
    // Near members get `part` of `whole`.
    let (part, whole) = ((near * OVER_PROVISIONING).min(near_at_best * FIFTHS), near_at_best * FIFTHS);
    let (near_factor, far_factor) = match (near, far) {
        (0, _) | (_, 0) => (1, 1),
        // near * near_factor : far * far_factor is part : whole - part.
        _ => (far * part, near * (whole - part)),
    };
    scale(members, near_factor, far_factor)
}

fn sum(members: &[Seen], counts: impl Fn(&Seen) -> bool) -> u128 {
    members.iter().filter(|member| counts(member)).map(|member| u128::from(member.weight)).sum()
}

fn scale(members: &[Seen], near_factor: u128, far_factor: u128) -> Vec<u32> {
    // What they have in common is of no use, and what is beyond 64 bits would not be seen.
    let divisor = gcd(near_factor, far_factor);
    let (near_factor, far_factor) = (near_factor / divisor, far_factor / divisor);
    let beyond = 64_u32.saturating_sub((near_factor | far_factor).leading_zeros());
    let factor = |member: &Seen| match (member.is_available, member.is_near) {
        (false, _) => 0,
        (true, true) => near_factor >> beyond,
        (true, false) => far_factor >> beyond,
    };
    let scaled: Vec<u128> = members.iter().map(|member| u128::from(member.weight) * factor(member)).collect();
    let bits = u128::BITS - scaled.iter().max().map_or(u128::BITS, |most| most.leading_zeros());
    let shift = bits.saturating_sub(u32::BITS);
    let fit = |scaled: u128| u32::try_from(scaled >> shift).expect("shifted to fit").max(u32::from(scaled > 0));
    scaled.into_iter().map(fit).collect()
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::mix;

    /// Members as text: `N`ear or `F`ar, small letters for those that are not available.
    fn seen(text: &str, weight: impl Fn(usize) -> u32) -> Vec<Seen> {
        let member = |(place, letter): (usize, char)| Seen {
            is_near: letter.eq_ignore_ascii_case(&'n'),
            is_available: letter.is_uppercase(),
            weight: weight(place),
        };
        text.chars().enumerate().map(member).collect()
    }

    #[test]
    fn near_members_get_all_while_enough_are_there() {
        let check = |text, expected: &[u32]| assert_eq!(weights(&seen(text, |_| 1000)), expected, "{text}");
        check("NNFF", &[1000, 1000, 0, 0]);
        // Five sevenths are there: just enough.
        check("NNNNNnnFF", &[1000, 1000, 1000, 1000, 1000, 0, 0, 0, 0]);
        check("NNNNnnnFF", &[2000, 2000, 2000, 2000, 0, 0, 0, 1000, 1000]);
        // Half: 70% near, and 30% far.
        check("NnFF", &[14_000, 0, 3_000, 3_000]);
        check("NnF", &[7_000, 0, 3_000]);
    }

    #[test]
    fn where_there_is_only_near_or_far_nothing_is_scaled() {
        let check = |text, expected: &[u32]| {
            assert_eq!(weights(&seen(text, |place| 1 + u32::try_from(place).unwrap())), expected, "{text}");
        };
        check("nFfF", &[0, 2, 0, 4]);
        check("NnnN", &[1, 0, 0, 4]);
        check("nNff", &[0, 2, 0, 0]);
        check("FFF", &[1, 2, 3]);
        check("", &[]);
    }

    #[test]
    fn where_nobody_is_available_somebody_is_asked_all_the_same() {
        assert_eq!(weights(&seen("nff", |_| 1000)), [1000, 1000, 1000]);
    }

    #[test]
    fn shares_are_right_for_any_weights() {
        for seed in 0..2_000_u64 {
            let random = |place: usize| mix(seed << 16 | place as u64);
            let letters: String =
                (0..40).map(|place| ['N', 'n', 'F', 'f'][(random(place) >> 40) as usize % 4]).collect();
            let members = seen(&letters, |place| (random(place) >> 32 >> (seed % 20)) as u32);
            let weights = weights(&members);
            let total = |counts: &dyn Fn(&Seen) -> bool, weights: &dyn Fn(usize) -> u32| -> f64 {
                (0..40).filter(|place| counts(&members[*place])).map(|place| f64::from(weights(place))).sum()
            };
            let given = |place: usize| members[place].weight;
            let (near, near_at_best) = (
                total(&|member| member.is_near && member.is_available, &given),
                total(&|member| member.is_near, &given),
            );
            let expected = (1.4 * near / near_at_best).min(1.0);
            let now = |place: usize| weights[place];
            let share = total(&|member| member.is_near, &now) / total(&|_| true, &now);
            assert!((share - expected).abs() < 1e-4, "{letters}: {share} for {expected}");
        }
    }
}
