//! Shares of traffic that hold still: a key always falls on the same point between 0 and 1.
//!
//! `share::of(user, "new-checkout") < 0.1` picks a tenth of all users, the same ones on every thread, after every
//! restart and in every version of this crate; 0.2 picks those and as many again. The salt names the experiment: with
//! another salt another tenth is picked.
//!
//! The point is 64-bit FNV-1a over salt, a byte 0xFF (which no UTF-8 text contains, so `"ab" + "c"` is not `"a" + "bc"`)
//! and key; then MurmurHash3's 64-bit finalizer, because FNV alone leaves the high bits of short keys uneven; of that the
//! upper 53 bits, as many as an `f64` holds exactly. It spreads; it does not withstand someone who picks keys on purpose.

/// Where the key falls: at least 0, less than 1.
pub fn of(key: impl AsRef<[u8]>, salt: &str) -> f64 {
    let hash = finalize(fnv_1a(salt.bytes().chain([0xff]).chain(key.as_ref().iter().copied())));
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

fn finalize(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_agree_with_their_published_vectors() {
        assert_eq!(fnv_1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv_1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv_1a("foobar".bytes()), 0x8594_4171_f739_67e8);
        assert_eq!(finalize(0), 0);
        assert_eq!(finalize(1), 0xb456_bcfc_34c2_cb2c);
    }

    #[test]
    fn a_key_falls_where_it_fell_in_every_earlier_version() {
        check("", "", 0.10835817485022992);
        check("user-1", "canary", 0.07394058666002112);
        check("user-2", "canary", 0.44504532557732945);
        check("user-1", "another", 0.7267444927494118);
    }

    fn check(key: &str, salt: &str, expect: f64) {
        assert_eq!(of(key, salt), expect, "{key} {salt}");
    }

    #[test]
    fn keys_that_look_alike_spread_evenly() {
        for key in [|n| format!("user-{n}"), |n: u32| format!("10.0.{}.{}", n / 256, n % 256)] {
            let mut tenths = [0; 10];
            for n in 0..50_000 {
                tenths[(of(key(n), "canary") * 10.0) as usize] += 1;
            }
            // 5,000 each; four standard deviations are 268.
            assert!(tenths.iter().all(|count| (4_732..=5_268).contains(count)), "{tenths:?}");
        }
    }

    #[test]
    fn another_salt_picks_others() {
        let both =
            (0..10_000).map(|n: u32| n.to_string()).filter(|key| of(key, "a") < 0.5 && of(key, "b") < 0.5).count();
        assert!((2_327..=2_673).contains(&both), "{both}");
    }
}
