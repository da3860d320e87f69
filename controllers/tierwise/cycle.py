"""In which order do the four rooms meet?"""
