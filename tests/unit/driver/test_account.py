from keomni_rl.driver.account import Account


def test_groups_that_a_lost_learner_forgot_are_dropped_not_trained():
    account = Account(started=20, trained=12)
    account.dropped["equal rewards"] += 2
    account.unfinished += 1
    account.undo(8)
    account.unfinished += 5
    assert account.as_event() == {
        "started": 20,
        "trained": 4,
        "dropped": {"equal rewards": 2, "rolled back": 8, "learner lost": 1},
        "unfinished": 5,
    }


def test_what_another_driver_trained_is_not_taken_from_this_one():
    account = Account(started=4, trained=4)
    account.undo(8)
    assert account.trained == 0
    assert account.dropped["rolled back"] == 4
