def test_x(journal):
    print(journal.checkpoint())


def test_y(signal_store):
    pass
