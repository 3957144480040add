"""What a wallet calls money that was given, by why it was: the reference's own words."""

SOURCES = {
    "signup": "signup_bonus",
    "payment_method": "payment_method_bonus",
    "daily": "daily_claim",
    "referral": "referral_reward",
    "gift": "admin_grant",
}
