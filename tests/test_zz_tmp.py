def test_x(smoke_model, clip_file):
    print(smoke_model, clip_file)
