from tests.linux.child.support import *
def test_x(box):
    r = box.run(box.script("echo hi; exit 3"))
    assert r == (3, "hi\n")
    c = box.create()
    print(fds_of(c.pid))
    c.start()
    print(fds_of(c.pid), fds_of("self"))
    assert 0
