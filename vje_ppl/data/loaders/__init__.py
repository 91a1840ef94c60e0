"""One loader for each kind of data set: a function from a configuration's `data` keys to `ImageData`.

Read in this order:

    digits.py         the shortest loader
    cifar.py, fashion_mnist.py, stl10.py, sample_photos.py    data sets in memory; download.py fetches them
    image_folder.py   your own images, from folders
    imagenet.py, webdataset.py, hf_dataset.py    data sets that are read image by image; shard_index.py indexes shards
    scan.py, splits.py    finding image files, and the folders of training and test images
    files.py          an image set from the files that were found; 16-bit images
    labels.py, left_out.py    labels, and files that are not read
"""
